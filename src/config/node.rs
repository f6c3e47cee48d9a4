//! The YAML file as a tree in which every key and value knows its place.
//!
//! The tree is built from the reader's events and not through serde: serde stops at the first
//! fault and loses places, and a person wants all of them. Aliases, anchors, tags, further
//! documents and deep nesting are refused while reading, so a small file cannot become a large
//! tree.

use serde_yaml::granit_parser::{Event, Options, Parser, ScalarStyle, StrInput};

use super::report::{Fault, Span};
use super::syntax;

/// A value of the file.
#[derive(Debug)]
pub(super) struct Node {
    /// Where the value stands; of a list or mapping, where it begins.
    pub(super) span: Span,
    pub(super) content: Content,
    pub(super) provenance: Provenance,
    /// How the text is written, where variables were replaced in it.
    pub(super) written: Option<String>,
}

/// What a value is.
#[derive(Debug)]
pub(super) enum Content {
    /// Nothing, `~` or `null`.
    Empty,
    List(Vec<Node>),
    Mapping(Vec<Entry>),
    /// The text, whatever the style; what it means is for the reading key to say.
    Scalar(String),
}

/// A key and its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) value: Node,
}

/// A key with its place.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) text: String,
    pub(super) span: Span,
}

/// Where the text of a scalar comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Provenance {
    /// A part of it came from a variable.
    Substituted,
    /// A variable that it needs is not set, and that is allowed: the text is a stand-in.
    Unknown,
    /// The file.
    Written,
}

impl Node {
    /// What the value is, for messages.
    pub(super) fn noun(&self) -> &'static str {
        match self.content {
            Content::Empty => "nothing",
            Content::List(_) => "a list",
            Content::Mapping(_) => "a mapping",
            Content::Scalar(_) => "a single value",
        }
    }
}

// The deepest place that routes.yaml has is at level 6 (a header map of a route).
const DEEPEST: usize = 16;

// A route with every key has about 60 nodes; a file of 1 MiB could hold half a million.
const MOST_NODES: usize = 100_000;

/// Reads the text of a file into a tree.
///
/// # Errors
/// The first place that is not YAML, or is a part of YAML that has no use here.
pub(super) fn parse(text: &str) -> Result<Node, Fault> {
    let mut options = Options::default();
    options.flow_nesting_limit = DEEPEST;
    options.block_nesting_limit = DEEPEST;
    options.disallow_directives = true;
    options.emit_unresolved_aliases = true;
    options.set_emit_comments(false);
    let mut builder = Builder {
        parser: Parser::new_from_str_with_options(text, options),
        nodes: 0,
        text,
    };
    builder.document()
}

struct Builder<'a> {
    parser: Parser<'a, StrInput<'a>>,
    nodes: usize,
    text: &'a str,
}

impl<'a> Builder<'a> {
    fn document(&mut self) -> Result<Node, Fault> {
        let mut root = Node {
            span: Span::default(),
            content: Content::Empty,
            provenance: Provenance::Written,
            written: None,
        };
        let mut documents = 0;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(root),
                Event::DocumentStart(..) if documents > 0 => {
                    return Err(syntax::refused(span, &syntax::SECOND_DOCUMENT));
                }
                Event::DocumentStart(..) => documents += 1,
                Event::StreamStart | Event::DocumentEnd => {}
                event => root = self.node(event, span, 0)?,
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Fault> {
        match self.parser.next_event() {
            None => Ok((Event::StreamEnd, Span::default())),
            Some(Ok((event, span))) => {
                let start = span.start.byte_offset().unwrap_or(0);
                let end = span.end.byte_offset().unwrap_or(start).max(start);
                Ok((event, Span { start, end }))
            }
            Some(Err(error)) => {
                let at = error.marker().byte_offset().unwrap_or(self.text.len());
                Err(syntax::fault(
                    error.kind(),
                    at.min(self.text.len()),
                    self.text,
                ))
            }
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Fault> {
        self.nodes += 1;
        if self.nodes > MOST_NODES {
            return Err(syntax::refused(span, &syntax::TOO_MANY_VALUES));
        }
        if depth > DEEPEST {
            return Err(syntax::refused(span, &syntax::TOO_DEEP));
        }
        refuse_decoration(&event, span, self.text)?;
        let content = match event {
            Event::Scalar(text, style, ..) => {
                let empty = style == ScalarStyle::Plain
                    && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                if empty {
                    Content::Empty
                } else {
                    Content::Scalar(text.into_owned())
                }
            }
            Event::SequenceStart(..) => self.list(depth)?,
            Event::MappingStart(..) => self.mapping(depth)?,
            _ => return Err(syntax::refused(span, &syntax::UNEXPECTED)),
        };
        let span = match &content {
            // A block mapping's own place is empty; its first key is what a person looks at.
            Content::Mapping(entries) => entries.first().map_or(span, |first| first.key.span),
            _ => span,
        };
        Ok(Node {
            span,
            content,
            provenance: Provenance::Written,
            written: None,
        })
    }

    fn list(&mut self, depth: usize) -> Result<Content, Fault> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Content::List(items)),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Content, Fault> {
        let mut entries = Vec::new();
        loop {
            let (event, span) = self.next()?;
            refuse_decoration(&event, span, self.text)?;
            let key = match event {
                Event::MappingEnd => return Ok(Content::Mapping(entries)),
                Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<" => {
                    return Err(syntax::refused(span, &syntax::MERGE_KEY));
                }
                Event::Scalar(text, ..) => Key {
                    text: text.into_owned(),
                    span,
                },
                _ => return Err(syntax::refused(span, &syntax::KEY_IS_NOT_A_WORD)),
            };
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            entries.push(Entry { key, value });
        }
    }
}

/// Refuses aliases, anchors and tags: they let a few bytes stand for many, and nothing here needs
/// them.
fn refuse_decoration(event: &Event<'_>, span: Span, text: &str) -> Result<(), Fault> {
    let (anchor, tagged) = match event {
        Event::Alias(_) | Event::UnresolvedAlias(_) => {
            return Err(syntax::refused(span, &syntax::ALIAS));
        }
        Event::Scalar(_, _, anchor, tag)
        | Event::SequenceStart(_, anchor, tag)
        | Event::MappingStart(_, anchor, tag) => (*anchor, tag.is_some()),
        _ => (0, false),
    };
    if anchor != 0 {
        Err(syntax::refused(decoration(span, text), &syntax::ANCHOR))
    } else if tagged {
        Err(syntax::refused(decoration(span, text), &syntax::TAG))
    } else {
        Ok(())
    }
}

/// Where the anchor or tag of a node stands: in front of it, for a block mapping in a line above.
fn decoration(span: Span, text: &str) -> Span {
    let before = text.get(..span.start).unwrap_or_default().trim_end();
    let start = before.rfind(char::is_whitespace).map_or(0, |at| at + 1);
    match before
        .get(start..)
        .is_some_and(|word| word.starts_with(['&', '!']))
    {
        true => Span {
            start,
            end: before.len(),
        },
        false => span,
    }
}

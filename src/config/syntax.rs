//! Faults of the YAML itself, in our words. The reader's own messages are written for people who
//! know its grammar, and may quote text that must not be shown.

use serde_yaml::granit_parser::ErrorKind;

use super::report::{Fault, Span};

/// A message and what would be accepted instead.
type Words = (&'static str, &'static str);

pub(super) const ALIAS: Words = (
    "YAML aliases are not used here",
    "write the value out; a value that begins with '*' needs quotes: \"*.contoso.com\"",
);
pub(super) const ANCHOR: Words = (
    "YAML anchors are not used here",
    "write the value out; a value that begins with '&' needs quotes",
);
const BRACKETS: Words = (
    "brackets do not match",
    "every '{' needs its '}', every '[' its ']', and entries a comma between them",
);
const COLON: Words = (
    "a colon is not expected here",
    "one key a line, indented like its neighbours; a value that holds ': ' needs quotes",
);
const DIRECTIVE: Words = (
    "YAML directives are not used here",
    "a value that begins with '%' needs quotes",
);
const INDENTATION: Words = (
    "this line does not fit the lines above it",
    "a key with a colon, or '- ' and a value, indented like its neighbours",
);
pub(super) const KEY_IS_NOT_A_WORD: Words = (
    "a key is a plain word",
    "a value that begins with '{' or '[' needs quotes",
);
pub(super) const MERGE_KEY: Words = (
    "YAML merge keys are not used here",
    "write the keys out in each mapping that has them",
);
pub(super) const SECOND_DOCUMENT: Words = (
    "a second YAML document begins here",
    "one file holds one configuration; remove the line ---",
);
const TAB: Words = (
    "a tab stands where YAML allows only spaces",
    "indent with spaces",
);
pub(super) const TAG: Words = (
    "YAML tags are not used here",
    "a value that begins with '!' needs quotes",
);
pub(super) const TOO_DEEP: Words = (
    "nested deeper than any key of this file",
    "routes.yaml has at most six levels",
);
pub(super) const TOO_MANY_VALUES: Words = (
    "more values than a configuration has",
    "split the routes between several processes",
);
pub(super) const UNEXPECTED: Words = ("this is not valid YAML", "a key, a colon and a value");

/// A fault at a known place.
pub(super) fn refused(span: Span, words: &Words) -> Fault {
    Fault {
        span,
        message: words.0.to_owned(),
        help: Some(words.1.to_owned()),
    }
}

/// What the YAML reader could not read of this text, at this byte. A tab that follows a value it
/// places where the value begins.
pub(super) fn fault(kind: &ErrorKind, at: usize, text: &str) -> Fault {
    let at = match kind {
        ErrorKind::TabInPlainScalar => {
            let behind = text.get(at..).and_then(|rest| rest.find("\n\t"));
            behind.map_or(at, |line| at + line + 1)
        }
        _ => at,
    };
    refused(Span { start: at, end: at }, &words(kind))
}

fn words(kind: &ErrorKind) -> Words {
    match kind {
        ErrorKind::RecursionLimitExceeded => TOO_DEEP,
        ErrorKind::MissingAnchorOrAliasName | ErrorKind::UnknownAnchor => ALIAS,
        ErrorKind::TabInIndentation
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabNotAllowed
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::TabInPlainScalar => TAB,
        ErrorKind::UnclosedFlowCollection { .. }
        | ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofFlowSequence
        | ErrorKind::UnexpectedEofImplicitFlowMapping
        | ErrorKind::ExpectedFlowMappingSeparator
        | ErrorKind::ExpectedFlowSequenceSeparator
        | ErrorKind::MismatchedFlowCollectionEnd { .. }
        | ErrorKind::MisplacedFlowCollectionEnd => BRACKETS,
        ErrorKind::MappingValueNotAllowed
        | ErrorKind::InvalidColonPlacement
        | ErrorKind::MappingKeyNotAllowed => COLON,
        ErrorKind::SimpleKeyExpected
        | ErrorKind::InvalidSimpleKey
        | ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::InvalidIndentation
        | ErrorKind::ExpectedBlockSequenceEntry
        | ErrorKind::BlockSequenceEntryNotAllowed => INDENTATION,
        ErrorKind::DirectiveDisallowed
        | ErrorKind::ExpectedDocumentStart
        | ErrorKind::MissingDocumentEndBeforeDirective => DIRECTIVE,
        other => words_of_a_value(other),
    }
}

fn words_of_a_value(kind: &ErrorKind) -> Words {
    match kind {
        ErrorKind::UnclosedQuotedScalar | ErrorKind::DocumentIndicatorInQuotedScalar => (
            "a quote is opened and never closed",
            "close it with the same kind of quote",
        ),
        ErrorKind::InvalidTrailingSingleQuotedScalar
        | ErrorKind::InvalidTrailingDoubleQuotedScalar => (
            "text follows a closed quote",
            "put the whole value into one pair of quotes",
        ),
        ErrorKind::UnexpectedCharacter { .. } => (
            "a value cannot begin with this character",
            "put the value into quotes",
        ),
        ErrorKind::UnknownQuotedScalarEscape
        | ErrorKind::InvalidQuotedScalarHexEscape
        | ErrorKind::InvalidUnicodeEscape => (
            "unknown escape in double quotes",
            "single quotes leave backslashes alone",
        ),
        _ => UNEXPECTED,
    }
}

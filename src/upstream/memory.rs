//! What the wires of one upstream share: the heads that came before, and the memory for the head that
//! is written or read just now. A wire that waits holds none: a thousand of them would keep twelve
//! megabytes, and what was used last is still in the processor's cache.

use std::cell::RefCell;

use bytes::BytesMut;

use super::answer_head::Heads;
use super::lead::Lead;
use crate::policy::response_header::Unread;

/// Room for a head, and with it for a short answer.
const INPUT: usize = 8 * 1024;
/// Answers are read one after the other; a few of them come in more than one piece.
const SPARES: usize = 4;

/// The memory.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The heads of answers that came before.
    pub(super) heads: RefCell<Heads>,
    inputs: RefCell<Vec<BytesMut>>,
    lead: RefCell<Lead>,
}

impl Memory {
    /// For answers in which this may be missing.
    pub(super) fn of(unread: Unread) -> Self {
        Self {
            heads: RefCell::new(Heads::new(unread)),
            ..Self::default()
        }
    }

    /// Makes room in `input` for a head.
    pub(super) fn lend_input(&self, input: &mut BytesMut) {
        if input.capacity() == 0 {
            *input = self.inputs.borrow_mut().pop().unwrap_or_default();
        }
        input.reserve(INPUT);
    }

    /// Takes `input` back. What has grown is not kept, nor what still holds bytes: they are of one
    /// connection, and never come to another.
    pub(super) fn return_input(&self, input: &mut BytesMut) {
        let input = std::mem::take(input);
        let mut inputs = self.inputs.borrow_mut();
        let usual = (1..=INPUT).contains(&input.capacity());
        if usual && input.is_empty() && inputs.len() < SPARES {
            inputs.push(input);
        }
    }

    /// Gives up what nobody uses just now: an upstream that is not asked keeps no memory, and no token
    /// in it.
    pub(super) fn sweep(&self) {
        self.inputs.take();
        self.lead.take();
    }

    /// Memory for the head of a request; the last one may still stand in it.
    pub(super) fn lend_lead(&self) -> Lead {
        self.lead.take()
    }

    /// Takes it back; what has grown is not kept.
    pub(super) fn return_lead(&self, lead: Lead) {
        if lead.is_usual() {
            self.lead.replace(lead);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lead(length: usize) -> Lead {
        let mut lead = Lead::default();
        lead.extend(length);
        lead
    }

    #[test]
    fn memory_goes_from_one_wire_to_the_next() {
        let memory = Memory::default();
        let mut input = BytesMut::new();
        memory.lend_input(&mut input);
        let place = input.as_ptr();
        memory.return_input(&mut input);
        assert_eq!(input.capacity(), 0);
        memory.lend_input(&mut input);
        assert_eq!(input.as_ptr(), place);

        let mut lead = memory.lend_lead();
        lead.append(b"token");
        let place = lead.as_ptr();
        memory.return_lead(lead);
        assert_eq!(memory.lend_lead().as_ptr(), place);
    }

    #[test]
    fn an_upstream_that_is_not_asked_keeps_no_memory() {
        let memory = Memory::default();
        memory.return_input(&mut BytesMut::with_capacity(INPUT));
        memory.return_lead(lead(1));
        memory.sweep();
        assert!(memory.inputs.borrow().is_empty());
        assert!(!memory.lend_lead().is_usual());
    }

    #[test]
    fn bytes_of_one_wire_never_come_to_another() {
        let memory = Memory::default();
        let mut input = BytesMut::new();
        memory.lend_input(&mut input);
        input.extend_from_slice(b"HTTP/1.1 200 OK");
        memory.return_input(&mut input);
        memory.lend_input(&mut input);
        assert_eq!(&input[..], b"");
    }

    #[test]
    fn what_has_grown_or_is_too_many_is_not_kept() {
        let memory = Memory::default();
        memory.return_input(&mut BytesMut::with_capacity(INPUT + 1));
        memory.return_input(&mut BytesMut::new());
        assert!(memory.inputs.borrow().is_empty());
        for _ in 0..2 * SPARES {
            memory.return_input(&mut BytesMut::with_capacity(INPUT));
        }
        assert_eq!(memory.inputs.borrow().len(), SPARES);
        let grown = lead(INPUT);
        assert!(!grown.is_usual());
        memory.return_lead(grown);
        assert_eq!(memory.lend_lead().len(), 0);
    }
}

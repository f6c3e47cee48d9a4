//! Which time limit counts when.

use std::cell::Cell;
use std::time::Duration;

use tokio::io::{AsyncWriteExt, DuplexStream};

use super::*;
use crate::alarm::AlarmClock;
use crate::proxy::conversation::Patience;

const SHORT_TIME: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(60);

/// A connection whose caller, the other end, has room for 64 bytes and lets it rest for 20 ms, by a
/// clock whose alarms ring.
fn connection() -> (Rc<Conversation>, Timed<DuplexStream>, DuplexStream) {
    connection_of(LONG)
}

/// The same with this limit on writing.
fn connection_of(write_stall: Duration) -> (Rc<Conversation>, Timed<DuplexStream>, DuplexStream) {
    let clock = AlarmClock::new(Duration::from_millis(1));
    tokio::task::spawn_local(Rc::clone(&clock).run());
    let patience = Patience {
        first_byte: LONG,
        request_head: LONG,
        keep_alive: SHORT_TIME,
        write_stall,
    };
    let conversation = Rc::new(Conversation::new(&clock, patience, None));
    let (ours, caller) = tokio::io::duplex(64);
    let socket = Timed::new(ours, Rc::clone(&conversation), clock.alarm());
    (conversation, socket, caller)
}

#[tokio::test(flavor = "local")]
async fn frames_that_wait_to_be_written_keep_no_idle_connection() {
    let (conversation, socket, mut caller) = connection();
    conversation.speaks_http2();
    let (_reading, mut writing) = tokio::io::split(socket);
    conversation.exchange_began();
    conversation.exchange_ended(false);
    // However late a busy machine rings.
    poll_fn(|cx| match conversation.is_overdue(cx) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await;
    let frames = [0; 100];
    let mut taken = vec![0; frames.len()];
    let written = async {
        // There is room for a part of it until the caller reads.
        tokio::time::sleep(Duration::from_millis(10)).await;
        caller.read_exact(&mut taken).await
    };
    let (sent, received) = tokio::join!(writing.write_all(&frames), written);
    sent.unwrap();
    received.unwrap();
    let overdue = poll_fn(|cx| Poll::Ready(conversation.is_overdue(cx)));
    assert!(overdue.await, "writing has not prolonged it");
}

#[tokio::test(flavor = "local")]
async fn the_next_request_is_not_waited_for_while_an_answer_is_being_written() {
    let (conversation, socket, mut caller) = connection();
    let (mut reading, mut writing) = tokio::io::split(socket);
    conversation.exchange_began();
    // All of the answer is given, and there is room for a part of it.
    conversation.exchange_ended(false);
    let answer = [b'x'; 100];
    let mut byte = [0];
    let mut next = std::pin::pin!(reading.read(&mut byte));
    let mut written = std::pin::pin!(writing.write_all(&answer));
    let rested = tokio::time::sleep(Duration::from_millis(200));
    tokio::select! {
        biased;
        _ = &mut written => panic!("there is no room for it"),
        next = &mut next => panic!("it is not time for {next:?}"),
        () = rested => {}
    }
    let mut all = vec![0; answer.len()];
    let (taken, written) = tokio::join!(caller.read_exact(&mut all), written);
    taken.unwrap();
    written.unwrap();
    let overdue = next.await.unwrap_err();
    assert_eq!(overdue.kind(), io::ErrorKind::TimedOut);
}

/// Whether what has to arrive is overdue, as who reads would find it.
async fn is_overdue(conversation: &Conversation) -> bool {
    poll_fn(|cx| Poll::Ready(conversation.is_overdue(cx))).await
}

/// Several times as long as is waited for a request, so that it would be overdue.
async fn rest() {
    tokio::time::sleep(Duration::from_millis(200)).await;
}

#[tokio::test(flavor = "local")]
async fn a_pause_in_an_answer_is_none_between_requests_once_writing_has_waited() {
    let (conversation, socket, mut caller) = connection();
    let (_reading, mut writing) = tokio::io::split(socket);
    conversation.exchange_began();
    let piece = [b'x'; 100];
    let mut taken = [0; 100];
    let read = async {
        // There is room for a part of it until the caller reads.
        tokio::task::yield_now().await;
        caller.read_exact(&mut taken).await
    };
    let (written, read) = tokio::join!(writing.write_all(&piece), read);
    written.unwrap();
    read.unwrap();
    rest().await;
    let overdue = is_overdue(&conversation).await;
    assert!(!overdue, "the upstream may rest, and the exchange is open");
}

#[tokio::test(flavor = "local")]
async fn who_was_slow_to_read_an_answer_has_all_the_time_there_is_for_the_next_request() {
    let (conversation, socket, mut caller) = connection();
    let (_reading, mut writing) = tokio::io::split(socket);
    conversation.exchange_began();
    conversation.exchange_ended(false);
    let answer = [b'x'; 100];
    let mut taken = [0; 100];
    let written = async {
        writing.write_all(&answer).await.unwrap();
        is_overdue(&conversation).await
    };
    let read = async {
        rest().await;
        caller.read_exact(&mut taken).await.unwrap();
    };
    let (overdue, ()) = tokio::join!(written, read);
    assert!(!overdue, "the time begins when the answer is out");
}

/// Gives more of an answer than there is room for, and lets the limit on writing pass.
async fn stall(socket: &mut Timed<DuplexStream>) {
    let piece = [b'x'; 100];
    loop {
        let written = poll_fn(|cx| Poll::Ready(Pin::new(&mut *socket).poll_write(cx, &piece)));
        if let Poll::Ready(Err(_)) = written.await {
            return;
        }
        // However late a busy machine rings.
        rest().await;
    }
}

#[tokio::test(flavor = "local")]
async fn who_reads_at_the_last_moment_has_as_long_again_for_the_next_piece() {
    let (conversation, mut socket, mut caller) = connection_of(SHORT_TIME);
    conversation.exchange_began();
    stall(&mut socket).await;
    caller.read_exact(&mut [0; 64]).await.unwrap();
    let waits = poll_fn(|cx| {
        let mut socket = Pin::new(&mut socket);
        let written = socket.as_mut().poll_write(cx, &[b'x'; 100]);
        assert!(matches!(written, Poll::Ready(Ok(64))), "{written:?}");
        Poll::Ready(socket.poll_write(cx, b"x").is_pending())
    });
    assert!(waits.await);
}

#[tokio::test(flavor = "local")]
async fn nothing_is_late_behind_an_answer_that_has_waited_for_too_long() {
    let (conversation, mut socket, _caller) = connection_of(SHORT_TIME);
    conversation.exchange_began();
    conversation.exchange_ended(false);
    stall(&mut socket).await;
    let overdue = is_overdue(&conversation).await;
    assert!(!overdue, "a refusal would go into the answer");
    assert!(conversation.is_busy());
}

#[tokio::test(flavor = "local")]
async fn a_connection_is_busy_until_all_of_its_last_answer_is_written() {
    let (conversation, socket, mut caller) = connection();
    let (_reading, mut writing) = tokio::io::split(socket);
    conversation.exchange_began();
    conversation.exchange_ended(false);
    assert!(!conversation.is_busy(), "nothing is there to be written");
    let answer = [b'x'; 100];
    let mut taken = [0; 100];
    let read = async {
        tokio::task::yield_now().await;
        assert!(conversation.is_busy(), "there was room for a part of it");
        caller.read_exact(&mut taken).await
    };
    let (written, read) = tokio::join!(writing.write_all(&answer), read);
    written.unwrap();
    read.unwrap();
    assert!(!conversation.is_busy());
}

#[tokio::test(flavor = "local")]
async fn a_caller_that_keeps_a_closed_connection_open_is_read_for_a_while_only() {
    let (conversation, mut socket, mut caller) = connection();
    conversation.exchange_began();
    conversation.exchange_ended(true);
    let (began, over) = (Instant::now(), Cell::new(false));
    let closed = async {
        let closed = tokio::time::timeout(4 * LINGER, socket.shutdown()).await;
        over.set(true);
        closed
    };
    let send = async {
        // More than there is room for: it is read, and no more comes.
        caller.write_all(&[b'x'; 100]).await.unwrap();
        assert!(!over.get(), "it is read before the end");
    };
    let (closed, ()) = tokio::join!(closed, send);
    closed.expect("it is not read for ever").unwrap();
    assert!(began.elapsed() >= LINGER);
}

#[tokio::test(flavor = "local")]
async fn what_came_behind_the_last_request_is_read_before_the_connection_is_closed() {
    let (conversation, mut socket, mut caller) = connection();
    conversation.exchange_began();
    conversation.exchange_ended(false);
    caller.write_all(&[b'x'; 64]).await.unwrap();
    let closed = tokio::time::timeout(4 * LINGER, socket.shutdown());
    let send = async {
        // Else the caller's system drops what it has of the answer.
        let sent = tokio::time::timeout(LINGER, caller.write_all(&[b'x'; 100])).await;
        sent.expect("it is read").unwrap();
        drop(caller);
    };
    let (closed, ()) = tokio::join!(closed, send);
    closed.expect("it is not read for ever").unwrap();
}

#[tokio::test(flavor = "local")]
async fn a_connection_on_which_nothing_more_came_is_closed_at_once() {
    let (conversation, mut socket, _caller) = connection();
    conversation.exchange_began();
    conversation.exchange_ended(false);
    let closed = tokio::time::timeout(LINGER / 2, socket.shutdown()).await;
    closed.expect("it is closed").unwrap();
}

/// A caller who sends without an end, of whom so much may be read yet.
struct Endless(usize);

impl AsyncRead for Endless {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let length = buf.initialize_unfilled().len();
        self.0 = self.0.checked_sub(length).expect("it is read for ever");
        buf.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Endless {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(flavor = "local")]
async fn a_caller_that_never_pauses_in_what_nobody_reads_is_read_so_far_and_no_further() {
    let (conversation, _, _) = connection();
    conversation.exchange_began();
    conversation.exchange_ended(true);
    let endless = Endless(LINGER_BYTES + PIECE);
    let alarm = AlarmClock::new(LINGER).alarm();
    let mut socket = Timed::new(endless, conversation, alarm);
    socket.shutdown().await.unwrap();
    assert!(socket.into_inner().0 <= PIECE, "as much is read as may be");
}

#[tokio::test(flavor = "local")]
async fn heads_that_are_thrown_away_take_no_room_from_others() {
    let (_, mut socket, mut caller) = connection();
    let heads = Rc::default();
    socket.count_frames(&heads);
    // The preface, and the beginning of HEADERS of 64 KiB.
    let begun = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x01\0\0\x01\x04\0\0\0\x01";
    caller.write_all(begun).await.unwrap();
    drop(caller);
    socket.shutdown().await.unwrap();
    let room = poll_fn(|cx| Poll::Ready(heads.poll_room(cx)));
    assert!(room.await.is_ready());
}

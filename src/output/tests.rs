//! Lines arrive whole and in order, and a sink that stands still or is full holds up nobody.

use std::sync::mpsc::{SyncSender, sync_channel};

use super::*;

/// Long enough for any machine; a test that waits this long has failed.
const LONG: Duration = Duration::from_secs(20);

/// A sink that keeps what it is given.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("no writer fails").clone()).expect("it is text")
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Says that it was entered, then blocks until it is let go.
struct Stuck {
    entered: SyncSender<()>,
    release: Receiver<()>,
}

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.entered.send(());
        let _ = self.release.recv();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Broken;

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn closing_writes_every_line_of_every_lane_in_its_order() {
    let memory = Memory::default();
    let output = Output::start("test", memory.clone(), 3).unwrap();
    std::thread::scope(|scope| {
        for worker in 0..3 {
            let lane = output.lane(worker);
            scope.spawn(move || {
                for n in 0..2000 {
                    lane.write(|lines| lines.extend(format!("{worker} {n}\n").bytes()));
                }
            });
        }
    });
    assert!(output.close(LONG));
    assert_eq!(output.dropped(), 0);
    let text = memory.text();
    for worker in 0..3 {
        let prefix = format!("{worker} ");
        let of_lane: Vec<_> = text.lines().filter(|l| l.starts_with(&prefix)).collect();
        let expected: Vec<_> = (0..2000).map(|n| format!("{worker} {n}")).collect();
        assert_eq!(of_lane, expected);
    }
}

#[test]
fn a_blocked_sink_holds_up_neither_writers_nor_the_exit() {
    let (entered, has_entered) = sync_channel(1);
    let (release, released) = channel();
    let sink = Stuck {
        entered,
        release: released,
    };
    let output = Output::start("test", sink, 1).unwrap();
    let lane = output.lane(0);
    let mut line = [b'x'; 1024];
    line[1023] = b'\n';
    lane.write(|lines| lines.extend_from_slice(&line));
    has_entered.recv_timeout(LONG).unwrap();
    for _ in 0..1500 {
        lane.write(|lines| lines.extend_from_slice(&line));
    }
    assert_eq!(output.dropped(), 1500 - 1024);
    assert!(!output.close(Duration::from_millis(1)));
    drop(release);
    assert!(output.close(LONG));
}

#[test]
fn lines_that_a_broken_sink_refuses_are_counted() {
    let output = Output::start("test", Broken, 1).unwrap();
    for _ in 0..5 {
        output.lane(0).write(|lines| lines.extend(b"line\n"));
    }
    assert!(output.close(LONG));
    assert_eq!(output.dropped(), 5);
}

/// A disk with this much room; and a pipe that takes ten bytes at a time, and nothing every other
/// time.
#[derive(Default)]
struct Disk {
    room: usize,
    written: Vec<u8>,
    takes: bool,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.takes = !self.takes;
        if !self.takes {
            return Err(ErrorKind::WouldBlock.into());
        }
        let taken = bytes.len().min(self.room).min(10);
        if taken == 0 {
            return Err(ErrorKind::StorageFull.into());
        }
        self.room -= taken;
        self.written.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_line_that_a_full_disk_cuts_off_is_lost_and_the_next_is_not_glued_to_it() {
    let lines = |from: u32| -> Vec<u8> {
        let line = |n| format!("line {n}\n").into_bytes();
        (from..from + 4).flat_map(line).collect()
    };
    // Seven bytes are a line: room for one and a part, for one without its newline, for two.
    for (room, lost, first) in [
        (10, 3, "line 0\nlin\n"),
        (13, 2, "line 0\nline 1\n"),
        (14, 2, "line 0\nline 1\n"),
        (0, 4, ""),
    ] {
        let mut disk = Disk {
            room,
            ..Disk::default()
        };
        let mut torn = false;
        assert_eq!(deliver(&mut disk, &lines(0), &mut torn), lost, "{room}");
        // Nothing of these gets there.
        assert_eq!(deliver(&mut disk, &lines(4), &mut torn), 4, "{room}");
        disk.room = 100;
        assert_eq!(deliver(&mut disk, &lines(8), &mut torn), 0, "{room}");
        let whole = format!("{first}line 8\nline 9\nline 10\nline 11\n");
        assert_eq!(String::from_utf8(disk.written).unwrap(), whole);
    }
}

#[test]
fn a_sink_that_would_block_is_waited_for() {
    let mut disk = Disk {
        room: usize::MAX,
        ..Disk::default()
    };
    let lines = b"0123456789 0123456789\n".repeat(5);
    assert_eq!(deliver(&mut disk, &lines, &mut false), 0);
    assert_eq!(disk.written, lines);
}

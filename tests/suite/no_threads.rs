//! Where the system has no thread to give, the program says so and nothing else does.

use crate::cli::{desk, with_file};
use crate::harness::program::{command, run};

/// More than there are addresses for: no thread gets a stack of this size.
const STACK: (&str, &str) = ("RUST_MIN_STACK", "140737488355328");

#[tokio::test]
async fn without_a_thread_to_be_had_one_sentence_says_so() {
    let (_simulator, folder) = desk("").await;
    let folder = folder.path();
    let mut demo = command();
    demo.args(["demo", "--exit"]);
    for mut command in [
        with_file(&["run"], folder),
        with_file(&["doctor"], folder),
        with_file(&["token", "graph"], folder),
        demo,
    ] {
        command.env(STACK.0, STACK.1);
        let (code, out, err) = run(command).await;
        assert_eq!((code, out.as_str()), (1, ""), "{err}");
        let words = "no thread is to be had; raise the limit of processes and threads\n";
        assert!(
            err.starts_with("tokenferry: ") && err.ends_with(words),
            "{err}"
        );
        assert_eq!(err.lines().count(), 1, "{err}");
    }
}

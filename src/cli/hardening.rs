//! What a command that holds secrets asks of the system. Where the platform refuses, the rest still
//! holds.

/// No core dumps, no debugger: both would show the tokens.
pub(super) fn hide_memory() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let none = Rlimit {
            current: Some(0),
            maximum: Some(0),
        };
        let _ = setrlimit(Resource::Core, none);
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}

/// As many descriptors as are allowed.
pub(super) fn raise_descriptors() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let files = getrlimit(Resource::Nofile);
        let all = Rlimit {
            current: files.maximum,
            maximum: files.maximum,
        };
        let _ = setrlimit(Resource::Nofile, all);
    }
}

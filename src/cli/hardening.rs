//! What a command that holds secrets asks of the system. Where the platform refuses, the rest still
//! holds.

#[cfg(unix)]
use rustix::process::Rlimit;

/// No core dumps, no debugger: both would show the tokens.
pub(super) fn hide_memory() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, setrlimit};
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
        use rustix::process::{Resource, getrlimit, setrlimit};
        let files = getrlimit(Resource::Nofile);
        let _ = setrlimit(Resource::Nofile, raised(files, MOST_FILES));
    }
}

/// What the system accepts although more is allowed: on macOS, where "no limit" is allowed and
/// refused, `OPEN_MAX` of sys/syslimits.h (setrlimit(2) there).
#[cfg(unix)]
const MOST_FILES: Option<u64> = if cfg!(target_os = "macos") {
    Some(10_240)
} else {
    None
};

/// The highest limit that is allowed and accepted; never a lower one than there is. `None` is no limit.
#[cfg(unix)]
fn raised(files: Rlimit, most: Option<u64>) -> Rlimit {
    let highest = files.maximum.into_iter().chain(most).min();
    let lower = highest.is_some_and(|highest| files.current.is_none_or(|now| now > highest));
    Rlimit {
        current: if lower { files.current } else { highest },
        maximum: files.maximum,
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_files_is_raised_as_far_as_the_system_accepts_it_and_never_lowered() {
        for (current, maximum, most, raised_to) in [
            (Some(1024), Some(4096), None, Some(4096)),
            (Some(1024), None, None, None),
            (Some(256), None, Some(10_240), Some(10_240)),
            (Some(256), Some(4096), Some(10_240), Some(4096)),
            (Some(65_536), None, Some(10_240), Some(65_536)),
            (None, None, Some(10_240), None),
        ] {
            let raised = raised(Rlimit { current, maximum }, most);
            assert_eq!(raised.current, raised_to, "{current:?} of {maximum:?}");
            assert_eq!(raised.maximum, maximum);
        }
    }
}

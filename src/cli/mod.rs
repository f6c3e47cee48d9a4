//! The commands. Each takes plain arguments and returns an exit code.

mod check;
mod demo;
mod doctor;
mod hardening;
mod inspection;
mod overlay;
mod run;
mod signals;
mod token;

use std::fmt::Display;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Arg, CommandFactory, Parser, Subcommand, value_parser};
use tokio::runtime::Runtime;

use self::signals::Stop;
use crate::chain::Chain;
use crate::config::{self, value::parse_workers};

/// Fine.
const FINE: u8 = 0;
/// Failed while running.
const FAILED: u8 = 1;
/// Configuration or usage refused; clap uses the same number for usage.
const REFUSED: u8 = 2;

const VARIABLES: &str = "Environment:
  TOKENFERRY_CONFIG  the configuration where -c is not given
  TOKENFERRY_LOG     the level of the log: info (default), debug, info,tokenferry::token=trace";

/// An authenticating reverse proxy for Microsoft Graph, Dynamics 365 and other APIs protected by
/// Microsoft Entra ID.
#[derive(Debug, Parser)]
#[command(name = "tokenferry", version, about, after_help = VARIABLES)]
pub struct Args {
    /// The configuration; default: what TOKENFERRY_CONFIG names, else routes.yaml
    #[arg(short, long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    run: RunArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Clone, Debug, Default, clap::Args)]
struct RunArgs {
    /// Listen here instead of where the configuration says
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Serve metrics, probes and the status page here, or `off`
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// Worker threads; default: the cores that the cgroup allows
    #[arg(long, value_name = "N", value_parser = parse_workers)]
    workers: Option<std::num::NonZeroUsize>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy (the default)
    #[command(
        override_usage = "tokenferry run [-c FILE] [--listen ADDRESS] [--admin ADDRESS] [--workers N]"
    )]
    Run(RunArgs),
    /// Validate the configuration, print every problem at once and the table of routes
    #[command(override_usage = "tokenferry check [-c FILE] [--allow-missing-env]")]
    Check {
        /// Accept variables that are not set: for pipelines that have no secrets
        #[arg(long)]
        allow_missing_env: bool,
    },
    /// Acquire each route's token, ask its upstream, and explain what is wrong
    #[command(override_usage = "tokenferry doctor [-c FILE] [--json] [ROUTE]...")]
    Doctor {
        /// Routes to look at; all of them when none is named
        #[arg(value_name = "ROUTE")]
        routes: Vec<String>,
        /// Print a JSON document for programs
        #[arg(long)]
        json: bool,
    },
    /// Acquire a route's token once and print its claims
    #[command(override_usage = "tokenferry token [-c FILE] [--raw] <ROUTE>")]
    Token {
        /// The route's name
        route: String,
        /// Print the token itself and nothing else
        #[arg(long)]
        raw: bool,
    },
    /// Run the whole thing on loopback against a built-in simulator of Entra, Graph and Dynamics
    #[command(arg = unused_config())]
    Demo {
        /// Leave after the requests
        #[arg(long)]
        exit: bool,
    },
    /// Print the JSON Schema of the configuration, for editors
    #[command(arg = unused_config())]
    Schema,
}

/// `--config`, for a command that reads none: in the place of the global option, so that help does
/// not offer it. It is still known, and refused with the reason.
fn unused_config() -> Arg {
    Arg::new("config")
        .short('c')
        .long("config")
        .value_parser(value_parser!(PathBuf))
        .hide(true)
}

/// The configuration when no option names it. A variable that is empty counts as unset, as
/// everywhere: that is how compose files and unit files leave one out.
fn default_file() -> PathBuf {
    let named = std::env::var_os("TOKENFERRY_CONFIG").filter(|name| !name.is_empty());
    named.map_or_else(|| PathBuf::from("routes.yaml"), PathBuf::from)
}

impl RunArgs {
    /// The options that are given.
    fn given(&self) -> Vec<&'static str> {
        let options = [
            ("--listen", self.listen.is_some()),
            ("--admin", self.admin.is_some()),
            ("--workers", self.workers.is_some()),
        ];
        let given = options.into_iter().filter(|(_, given)| *given);
        given.map(|(option, _)| option).collect()
    }

    /// These, before the command, and those after it.
    ///
    /// # Errors
    /// An option that is given in both places.
    fn and(self, later: Self) -> Result<Self, &'static str> {
        let early = self.given();
        match early.iter().find(|option| later.given().contains(option)) {
            Some(option) => Err(option),
            None => Ok(Self {
                listen: self.listen.or(later.listen),
                admin: self.admin.or(later.admin),
                workers: self.workers.or(later.workers),
            }),
        }
    }
}

/// What a start needs, and the system has no room for.
#[derive(Debug, thiserror::Error)]
#[error("cannot {0}; raise the limits of processes and open files")]
struct NoRoom(&'static str, #[source] io::Error);

/// What a command was asked for, and could not tell.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output; look at where it leads")]
struct Unwritten(#[source] io::Error);

/// Does what the command line asks for and returns the exit code.
pub fn main() -> u8 {
    crate::runtime::tell_once_of_no_thread();
    match Args::try_parse() {
        Ok(args) => perform(args),
        // Help and the version are output like any other: what asked for them is to know that they got lost.
        Err(asked) if !asked.use_stderr() => written(|_| asked.print().map(|()| FINE)),
        Err(error) => {
            // Standard error is all there is to tell it to.
            let _ = error.print();
            REFUSED
        }
    }
}

fn perform(args: Args) -> u8 {
    let (named, early) = (args.config, args.run);
    let command = args.command.unwrap_or(Command::Run(RunArgs::default()));
    if let (false, [option, ..]) = (matches!(command, Command::Run(_)), &early.given()[..]) {
        return misused(&format!(
            "{option} is an option of run, and this command does not run the proxy; leave it out"
        ));
    }
    if let (Some(file), Command::Demo { .. } | Command::Schema) = (&named, &command) {
        return misused(&format!(
            "--config names {}, and this command reads no configuration; leave it out",
            config::shown(file)
        ));
    }
    let config = named.unwrap_or_else(default_file);
    match command {
        Command::Run(later) => match early.and(later) {
            Ok(run) => run::run(&config, &run),
            Err(option) => misused(&format!("{option} is given twice; give it once")),
        },
        Command::Check { allow_missing_env } => {
            hardening::hide_memory();
            written(|out| check::check(&config, allow_missing_env, out, &mut io::stderr()))
        }
        Command::Doctor { routes, json } => doctor::doctor(&config, &routes, json),
        Command::Token { route, raw } => token::token(&config, &route, raw),
        Command::Demo { exit } => demo::demo(exit),
        Command::Schema => written(|out| {
            writeln!(out, "{:#}", config::schema())?;
            Ok(FINE)
        }),
    }
}

/// Refuses a command line that clap accepts, in clap's form.
fn misused(words: &str) -> u8 {
    let error = Args::command().error(ErrorKind::ArgumentConflict, words);
    // Standard error is all there is to tell it to.
    let _ = error.print();
    REFUSED
}

/// Runs what writes to standard output. A reader that left early (`| head`) is no failure.
fn written(command: impl FnOnce(&mut dyn Write) -> io::Result<u8>) -> u8 {
    let mut out = io::stdout().lock();
    match command(&mut out) {
        Ok(code) => code,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => FINE,
        Err(error) => complain(&Unwritten(error)),
    }
}

/// Prints an error with its sources, for commands that have no log.
fn complain(error: &dyn std::error::Error) -> u8 {
    tell(Chain(error));
    FAILED
}

/// Prints why the configuration or the usage is refused.
fn refuse(words: &str) -> u8 {
    tell(words);
    REFUSED
}

/// The number of problems, in words.
fn counted(problems: usize) -> String {
    match problems {
        1 => "1 problem".to_owned(),
        many => format!("{many} problems"),
    }
}

fn tell(words: impl Display) {
    // Standard error is all there is to tell it to.
    let _ = writeln!(io::stderr(), "tokenferry: {words}");
}

/// Does the work of a command that waits for others, unless the end is asked for first. The kernel
/// ends every process by a signal that it does not listen for, but not the first one of a container.
///
/// # Errors
/// The exit code, once it was told.
async fn unless_stopped<T>(work: impl Future<Output = T>) -> Result<T, u8> {
    if std::process::id() != 1 {
        return Ok(work.await);
    }
    let mut stop =
        Stop::listen().map_err(|error| complain(&NoRoom("listen for signals", error)))?;
    tokio::select! {
        done = work => Ok(done),
        _ = stop.asked() => {
            tell("ended by a signal, before everything had answered");
            Err(FAILED)
        }
    }
}

/// Runs what needs a runtime.
fn with_runtime(command: impl FnOnce(&Runtime) -> u8) -> u8 {
    match crate::runtime::single() {
        Ok(runtime) => {
            let code = command(&runtime);
            // A thread that waits for a file system must not keep the process from ending.
            runtime.shutdown_background();
            code
        }
        Err(error) => complain(&NoRoom("start", error)),
    }
}

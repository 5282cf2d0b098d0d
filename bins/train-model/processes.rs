//! `--nproc N`: this process starts N of its kind, which train together, and waits for them.

use std::ffi::OsString;
use std::io;
use std::net::TcpListener;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::cli::signals;
use common::stage::Manifest;
use common::{Error, Result};

use crate::train_model::args::Args;

/// Time that the other processes have to end by themselves after one has failed.
const LEAVE: Duration = Duration::from_secs(20);

/// Starts the processes and ends as they end: done when all are, else with the code and the words of the first that
/// failed.
pub fn run(args: &Args, n: u64) -> Result<()> {
    let port = free_port()?;
    let given = arguments(args)?;
    let mut children = Vec::new();
    for rank in 0..n {
        let child = start(args, &given, rank, n, port);
        match child.map_err(|e| Error::io("starting", std::env::current_exe().unwrap_or_default(), e)) {
            Ok(child) => children.push(Some(child)),
            Err(error) => {
                end(&mut children, libc::SIGKILL);
                return Err(error);
            }
        }
    }
    wait(&mut children)
}

fn start(args: &Args, given: &[OsString], rank: u64, n: u64, port: u16) -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    // One file may hold several programs; the name says which.
    command.arg0(std::env::args_os().next().unwrap_or_default());
    command.args(given);
    if args.run.threads.is_none() {
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        command.arg("--threads").arg((cores / n).max(1).to_string());
    }
    for (name, value) in [("RANK", rank), ("LOCAL_RANK", rank), ("WORLD_SIZE", n), ("MASTER_PORT", u64::from(port))] {
        command.env(name, value.to_string());
    }
    command.env("MASTER_ADDR", "127.0.0.1");
    // The manifest on standard output is rank 0's.
    command.stdin(Stdio::null()).stdout(if rank == 0 { Stdio::inherit() } else { Stdio::null() });
    // SAFETY: between fork and exec only prctl and the signal mask are called, both async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            // Without this process nobody would wait for them: they save and stop.
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
            signals::unblock();
            Ok(())
        });
    }
    command.spawn()
}

/// Waits for all; passes an interruption on, and ends the others when one fails.
fn wait(children: &mut [Option<Child>]) -> Result<()> {
    let mut failed: Option<(usize, ExitStatus, Instant)> = None;
    let mut told = false;
    while children.iter().any(Option::is_some) {
        if signals::interrupted() && !told {
            told = true;
            end(children, libc::SIGTERM);
        }
        for (rank, place) in children.iter_mut().enumerate() {
            let Some(child) = place else { continue };
            if let Some(status) = child.try_wait().map_err(|e| Error::io("waiting for", format!("rank {rank}"), e))? {
                *place = None;
                if !status.success() && failed.is_none() {
                    failed = Some((rank, status, Instant::now()));
                }
            }
        }
        if failed.is_some_and(|(_, _, since)| since.elapsed() > LEAVE) {
            end(children, libc::SIGKILL);
        }
        sleep(Duration::from_millis(20));
    }
    match failed {
        None => Ok(()),
        Some((rank, status, _)) => Err(explain(rank, status)),
    }
}

fn explain(rank: usize, status: ExitStatus) -> Error {
    match (status.code(), status.signal()) {
        (Some(130), _) => Error::Interrupted {
            saved: "what the processes had done is saved; the same command with `--resume auto` continues".into(),
        },
        (_, Some(signal)) => Error::failed(format!("rank {rank} was killed by signal {signal}"))
            .hint("the last checkpoint is intact: the same command with `--resume auto` continues"),
        (Some(2), _) => Error::usage(format!("rank {rank} refused to start; its message stands above")),
        (Some(3), _) => Error::input(format!("rank {rank}"), "refused its input; its message stands above"),
        (Some(5), _) => {
            Error::device(format!("rank {rank} ran out of memory or lost its device; its message stands above"))
        }
        (code, _) => {
            Error::failed(format!("rank {rank} failed with code {}; its message stands above", code.unwrap_or(1)))
        }
    }
}

fn end(children: &mut [Option<Child>], signal: i32) {
    for child in children.iter().flatten() {
        // SAFETY: the child is not waited for yet, so its number is still its own.
        unsafe { libc::kill(child.id() as libc::pid_t, signal) };
    }
}

/// What was typed, without `--nproc`; a manifest from a pipe is read here once and named by its folder.
fn arguments(args: &Args) -> Result<Vec<OsString>> {
    let piped = match args.from.from.as_deref() {
        Some("-") => Some(Manifest::read("-")?.folder.into_os_string()),
        _ => None,
    };
    let mut given = Vec::new();
    let mut typed = std::env::args_os().skip(1);
    while let Some(argument) = typed.next() {
        let text = argument.to_string_lossy().into_owned();
        if text == "--nproc" || (text == "--from" && piped.is_some()) {
            typed.next();
        } else if !(text.starts_with("--nproc=") || text == "--from=-") {
            given.push(argument);
        }
    }
    if let Some(folder) = piped {
        given.extend(["--from".into(), folder]);
    }
    Ok(given)
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    port.map(|address| address.port()).map_err(|e| Error::failed(format!("no free port on the loopback: {e}")))
}

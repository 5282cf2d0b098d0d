//! The processes that train one network together: which of them this is, and where they meet.
//!
//! Started by `torchrun --no-python`, `srun`, `mpirun` or `train-model --nproc N`; each leaves its own variables in the
//! environment. Rank 0 leads: it writes the run folder and speaks; the others follow in silence.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

/// One process among those of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct World {
    /// This process, `0..size`.
    pub rank: u64,
    /// Number of processes, at least 2.
    pub size: u64,
    /// This process among those of its machine.
    pub local_rank: u64,
    /// Host name or address of the machine of rank 0.
    pub address: String,
    /// Port of the store where the processes meet.
    pub port: u16,
    /// Whether somebody else (torchrun's agent) keeps that store.
    pub store_is_kept: bool,
    /// Beginning of the keys of this start, which tells a restarted run from the one before.
    pub prefix: String,
}

/// Port where nobody names one: torch's own.
const PORT: u16 = 29_500;

impl World {
    /// The world of this process; none where it is the only one.
    ///
    /// # Errors
    /// [`Error::Usage`] for variables that are no numbers, a rank outside the world, or a missing address.
    pub fn of_environment() -> Result<Option<Self>> {
        Self::of(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn of(get: impl Fn(&str) -> Option<String>) -> Result<Option<Self>> {
        let number = |name: &str| -> Result<Option<u64>> {
            let wrong = |text: String| Error::usage(format!("{name}={text}: expected a whole number"));
            get(name).map(|text| text.trim().parse().map_err(|_| wrong(text))).transpose()
        };
        // A Slurm batch script has SLURM_PROCID too; only a step of several tasks is a start of ours.
        let starters = [
            ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
            ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
            ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"),
            ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),
        ];
        for (rank_name, size_name, local_name) in starters {
            let (Some(rank), Some(size)) = (number(rank_name)?, number(size_name)?) else { continue };
            if size < 2 {
                return Ok(None);
            }
            if rank >= size {
                return Err(Error::usage(format!("{rank_name}={rank}, but {size_name}={size}: ranks count from 0")));
            }
            let address = match (get("MASTER_ADDR"), get("SLURM_STEP_NODELIST")) {
                (Some(address), _) => address,
                (None, Some(nodes)) => first_host(&nodes),
                (None, None) if number("OMPI_COMM_WORLD_LOCAL_SIZE")? == Some(size) => "127.0.0.1".into(),
                (None, None) => {
                    return Err(Error::usage(format!("{size_name}={size}, but MASTER_ADDR is not set"))
                        .hint("set MASTER_ADDR to the host of rank 0 (and MASTER_PORT, default 29500) for all ranks"));
                }
            };
            let port = match (number("MASTER_PORT")?, number("SLURM_JOB_ID")?) {
                (Some(port), _) => u16::try_from(port)
                    .map_err(|_| Error::usage(format!("MASTER_PORT={port}: expected a port below 65536")))?,
                // Two jobs of one node must not meet each other.
                (None, Some(job)) => 20_000 + u16::try_from(job % 20_000).unwrap_or(0),
                (None, None) => PORT,
            };
            let attempt = get("TORCHELASTIC_RESTART_COUNT").unwrap_or_else(|| "0".into());
            return Ok(Some(Self {
                rank,
                size,
                local_rank: number(local_name)?.unwrap_or(0),
                address,
                port,
                store_is_kept: get("TORCHELASTIC_USE_AGENT_STORE").as_deref() == Some("True"),
                prefix: format!("podium/{attempt}"),
            }));
        }
        Ok(None)
    }
}

/// The first host of a Slurm list: `gpu[03-07,9],cpu1` -> `gpu03`.
fn first_host(nodes: &str) -> String {
    match nodes.split_once('[') {
        Some((name, rest)) if !name.contains(',') => {
            let first: String = rest.chars().take_while(char::is_ascii_digit).collect();
            format!("{name}{first}")
        }
        _ => nodes.split(',').next().unwrap_or(nodes).to_string(),
    }
}

static RANK: AtomicU64 = AtomicU64::new(0);
static LOCAL_RANK: AtomicU64 = AtomicU64::new(0);
static MEET: OnceLock<fn() -> Result<()>> = OnceLock::new();

/// Notes how this process waits for all others; given by what connects them.
pub fn set_meeting(meet: fn() -> Result<()>) {
    let _ = MEET.set(meet);
}

/// Waits until all processes are here. Where there is one only, it is.
pub fn meet() -> Result<()> {
    MEET.get().map_or(Ok(()), |meet| meet())
}

/// Notes this process's rank, for everything that only rank 0 does, and its rank on this machine.
pub fn set_rank(rank: u64, local_rank: u64) {
    RANK.store(rank, Ordering::Relaxed);
    LOCAL_RANK.store(local_rank, Ordering::Relaxed);
}

/// This process's rank; 0 where it is the only one.
pub fn rank() -> u64 {
    RANK.load(Ordering::Relaxed)
}

/// Whether this process reads files through to verify them. One of each machine does, as another machine may have other copies; the
/// others rely on it: all of them meet before a run begins, and one that finds a changed file never comes.
pub fn verifies() -> bool {
    LOCAL_RANK.load(Ordering::Relaxed) == 0
}

/// Whether this process writes and speaks.
pub fn leads() -> bool {
    rank() == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Option<World>> {
        World::of(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string()))
    }

    #[test]
    fn every_starter_is_understood() {
        let world =
            of(&[("RANK", "1"), ("WORLD_SIZE", "4"), ("LOCAL_RANK", "1"), ("MASTER_ADDR", "n1")]).unwrap().unwrap();
        assert_eq!((world.rank, world.size, world.local_rank, world.address.as_str()), (1, 4, 1, "n1"));
        assert_eq!((world.port, world.store_is_kept), (29_500, false));
        let step = [
            ("SLURM_PROCID", "3"),
            ("SLURM_STEP_NUM_TASKS", "8"),
            ("SLURM_LOCALID", "1"),
            ("SLURM_STEP_NODELIST", "gpu[03-06]"),
            ("SLURM_JOB_ID", "40017"),
        ];
        let world = of(&step).unwrap().unwrap();
        assert_eq!((world.rank, world.local_rank, world.address.as_str(), world.port), (3, 1, "gpu03", 20_017));
        let mpi = [("OMPI_COMM_WORLD_RANK", "0"), ("OMPI_COMM_WORLD_SIZE", "2"), ("OMPI_COMM_WORLD_LOCAL_SIZE", "2")];
        assert_eq!(of(&mpi).unwrap().unwrap().address, "127.0.0.1");
        let agent =
            [("RANK", "0"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "a"), ("TORCHELASTIC_USE_AGENT_STORE", "True")];
        assert!(of(&agent).unwrap().unwrap().store_is_kept);
    }

    #[test]
    fn a_process_alone_has_no_world() {
        assert_eq!(of(&[]).unwrap(), None);
        assert_eq!(of(&[("RANK", "0"), ("WORLD_SIZE", "1")]).unwrap(), None);
        // A batch script inside an allocation of four tasks, not started by srun.
        assert_eq!(of(&[("SLURM_PROCID", "0"), ("SLURM_NTASKS", "4")]).unwrap(), None);
    }

    #[test]
    fn wrong_variables_are_named() {
        let says = |variables: &[(&str, &str)]| of(variables).unwrap_err().to_string();
        assert!(says(&[("RANK", "x"), ("WORLD_SIZE", "2")]).contains("RANK=x"));
        assert!(says(&[("RANK", "2"), ("WORLD_SIZE", "2")]).contains("ranks count from 0"));
        assert!(says(&[("RANK", "1"), ("WORLD_SIZE", "2")]).contains("MASTER_ADDR is not set"));
        let port = [("RANK", "1"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "a"), ("MASTER_PORT", "70000")];
        assert!(says(&port).contains("MASTER_PORT=70000"));
    }

    #[test]
    fn the_first_host_of_a_list_is_found() {
        for (nodes, first) in [("a", "a"), ("a1,b2", "a1"), ("n[1,4-9]", "n1"), ("x,n[1-2]", "x")] {
            assert_eq!(first_host(nodes), first, "{nodes}");
        }
    }
}

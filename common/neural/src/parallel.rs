//! Data parallelism on torch's c10d: a group of processes, and gradients averaged over it while backward runs.
//!
//! Every rank takes its contiguous share of each global batch ([`crate::loader::Shard`]), so N ranks see the batches of
//! one; they differ from one process by the order of sums only. Rank 0 writes checkpoints and evaluates; what it found
//! is told to the others, so that all take the same decisions.

use std::ffi::{CString, c_void};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::world::{self, World};
use common::{Error, Result};
use tch::{Device, Kind, Tensor};

use crate::errors::Doing;
use crate::loader::Shard;
use crate::shim;

/// Time that one rank may keep the others waiting, for instance by an evaluation.
const PATIENCE: Duration = Duration::from_secs(4 * 3600);
/// Size of a gradient bucket, and of the first one, which is sent while most of backward is still to be done.
const BUCKET: (i64, i64) = (1 << 20, 25 << 20);

static GROUP: OnceLock<Group> = OnceLock::new();
static SHARED_STATISTICS: AtomicBool = AtomicBool::new(false);

/// The processes that train together.
pub struct Group {
    raw: *mut c_void,
    world: World,
}

// SAFETY: c10d's process groups may be used from any thread; the trainer uses it from one at a time.
unsafe impl Send for Group {}
// SAFETY: as above.
unsafe impl Sync for Group {}

/// How values of the ranks become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduce {
    /// Their sum.
    Sum,
    /// The smallest.
    Min,
    /// The largest.
    Max,
}

/// Joins the processes that the environment names; does nothing where there is one only. Called once, before a run
/// folder is touched.
///
/// # Errors
/// [`Error::Failed`] when the others do not come within `patience`, naming the place of meeting.
pub fn join(patience: Duration) -> Result<()> {
    let Some(world) = World::of_environment()? else { return Ok(()) };
    world::set_rank(world.rank);
    let (rank, size, place) = (world.rank, world.size, format!("{}:{}", world.address, world.port));
    let raw = shim::group_open(&world, patience, PATIENCE).map_err(|error| {
        let cause = error.to_string();
        Error::failed(format!(
            "rank {rank} of {size} waited {} s for the others at {place}: {}",
            patience.as_secs(),
            cause.lines().next().unwrap_or_default()
        ))
        .hint("all ranks need the same MASTER_ADDR (the host of rank 0), MASTER_PORT and WORLD_SIZE, and every rank must run")
    })?;
    tracing::info!("{size} processes train together, met at {place}");
    let _ = GROUP.set(Group { raw, world });
    world::set_meeting(|| group().map_or(Ok(()), Group::barrier));
    Ok(())
}

/// The group of this process; none where it trains alone.
pub fn group() -> Option<&'static Group> {
    GROUP.get()
}

/// The number of this process among those of its machine; 0 where it trains alone.
pub fn local_rank() -> usize {
    group().map_or(0, |group| group.world.local_rank as usize)
}

/// Runs a forward pass of training. With `shared`, layers that normalise over the batch take their statistics over the
/// rows of all processes instead of their own.
pub fn with_statistics<T>(shared: bool, forward: impl FnOnce() -> T) -> T {
    SHARED_STATISTICS.store(shared, Ordering::Relaxed);
    let outcome = forward();
    SHARED_STATISTICS.store(false, Ordering::Relaxed);
    outcome
}

/// The group over which layers take the statistics of a batch; none where each process takes its own.
pub fn statistics_group() -> Option<&'static Group> {
    group().filter(|_| SHARED_STATISTICS.load(Ordering::Relaxed))
}

/// The share of each batch that this process takes.
pub fn shard() -> Shard {
    group().map_or(Shard::WHOLE, |group| Shard { rank: group.world.rank, world: group.world.size })
}

impl Group {
    /// Number of processes.
    pub fn size(&self) -> u64 {
        self.world.size
    }

    /// Reduces `values` over all ranks.
    pub fn all_reduce(&self, values: &mut [f64], how: Reduce) -> Result<()> {
        let tensor = Tensor::from_slice(values);
        shim::group_all_reduce(self.raw, &tensor, how).map_err(|e| self.lost(&e))?;
        tensor.f_copy_data(values, values.len()).doing("reading what the ranks agreed on")
    }

    /// What each rank gives, in the order of ranks; all give equally many numbers.
    pub fn gather(&self, values: &[f64]) -> Result<Vec<Vec<f64>>> {
        let (width, size) = (values.len(), self.world.size as usize);
        let mut all = vec![0.0; width * size];
        let own = self.world.rank as usize * width;
        all[own..own + width].copy_from_slice(values);
        // Every number meets zeros only: nothing is rounded.
        self.all_reduce(&mut all, Reduce::Sum)?;
        Ok((0..size).map(|rank| all[rank * width..(rank + 1) * width].to_vec()).collect())
    }

    /// The sum of a tensor over the ranks, of the same shape, differentiable: its gradient is the sum of theirs. All
    /// ranks call it for the same tensors in the same order.
    pub fn sum(&self, tensor: &Tensor) -> Result<Tensor> {
        shim::group_sum(self.raw, tensor).map_err(|e| self.lost(&e))
    }

    /// Gives tensors the values that they have on rank 0, in place.
    pub fn follow(&self, tensors: &[Tensor]) -> Result<()> {
        for tensor in tensors {
            let what = "taking over a buffer of rank 0";
            let copy = tensor.f_to_device(Device::Cpu).and_then(|t| t.f_contiguous()).doing(what)?;
            let copy = if world::leads() { copy.f_detach() } else { copy.f_zeros_like() }.doing(what)?;
            shim::group_broadcast(self.raw, &copy, 0).map_err(|e| self.lost(&e))?;
            if !world::leads() {
                tch::no_grad(|| tensor.shallow_clone().f_copy_(&copy).map(|_| ())).doing(what)?;
            }
        }
        Ok(())
    }

    /// The text of rank 0 for all ranks; the argument of the others does not count.
    pub fn tell(&self, text: &str) -> Result<String> {
        let mut length = [if world::leads() { text.len() as f64 } else { 0.0 }];
        self.all_reduce(&mut length, Reduce::Sum)?;
        let bytes = if world::leads() { text.as_bytes().to_vec() } else { vec![0_u8; length[0] as usize] };
        let tensor = Tensor::from_slice(&bytes);
        shim::group_broadcast(self.raw, &tensor, 0).map_err(|e| self.lost(&e))?;
        let told = Vec::<u8>::try_from(&tensor).doing("reading what rank 0 says")?;
        String::from_utf8(told).map_err(|_| Error::failed("rank 0 did not send text"))
    }

    /// Waits until all ranks are here.
    pub fn barrier(&self) -> Result<()> {
        shim::group_barrier(self.raw).map_err(|e| self.lost(&e))
    }

    /// Fails on every rank unless `what` (a text) is the same on all of them.
    pub fn demand_equal(&self, what: &str, text: &str) -> Result<()> {
        let hash = blake3::hash(text.as_bytes());
        // Three bytes a number: exact in f64.
        let parts: Vec<f64> = hash.as_bytes()[..24]
            .chunks(3)
            .map(|c| f64::from(u32::from(c[0]) << 16 | u32::from(c[1]) << 8 | u32::from(c[2])))
            .collect();
        let (mut low, mut high) = (parts.clone(), parts);
        self.all_reduce(&mut low, Reduce::Min)?;
        self.all_reduce(&mut high, Reduce::Max)?;
        if low == high {
            return Ok(());
        }
        Err(Error::usage(format!("the {} ranks do not agree on {what}", self.world.size))
            .hint("start all of them with the same command, config, data and version"))
    }

    fn lost(&self, error: &Error) -> Error {
        let cause = error.to_string();
        Error::failed(format!(
            "rank {} of {} lost the others: {}",
            self.world.rank,
            self.world.size,
            cause.lines().next().unwrap_or_default()
        ))
        .hint("another rank ended; its message says why. The last checkpoint is intact: the same command with `--resume auto` continues")
    }
}

/// Averages the gradients of the parameters over the group during backward.
pub struct Averaging {
    raw: *mut c_void,
}

impl Averaging {
    /// Watches `params`; none where the process trains alone.
    ///
    /// # Errors
    /// [`Error::Usage`] on a GPU, whose transport (NCCL) is not part of this build.
    pub fn of(params: &[Tensor], device: Device) -> Result<Option<Self>> {
        let Some(group) = group() else { return Ok(None) };
        if device != Device::Cpu {
            return Err(Error::usage("several processes train together on CPUs only: this build has no NCCL")
                .hint("use one GPU, or `--device cpu`"));
        }
        let params: Vec<&Tensor> = params.iter().collect();
        Ok(Some(Self { raw: shim::reducer_new(group.raw, &params, BUCKET)? }))
    }

    /// The next backward pass from `loss` ends with averaged gradients; one without this call before it adds to this
    /// process's own.
    pub fn prepare(&self, loss: &Tensor) -> Result<()> {
        shim::reducer_prepare(self.raw, loss)
    }
}

impl Drop for Averaging {
    fn drop(&mut self) {
        shim::reducer_free(self.raw);
    }
}

/// All values of the named tensors as one hash, to compare ranks.
pub fn fingerprint(state: &[(String, Tensor)]) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    for (name, tensor) in state {
        hasher.update(name.as_bytes());
        let values =
            tensor.f_to_device(Device::Cpu).and_then(|t| t.f_to_kind(Kind::Double)).doing("reading weights")?;
        let values = values.f_contiguous().and_then(|t| t.f_view([-1])).doing("reading weights")?;
        for value in Vec::<f64>::try_from(&values).doing("reading weights")? {
            hasher.update(&value.to_bits().to_le_bytes());
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// A C string of a text without NUL.
pub(crate) fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::usage(format!("`{}` holds a NUL byte", text.escape_debug())))
}

//! Data parallelism on torch's c10d: a group of processes (Gloo between CPUs, NCCL between GPUs), and gradients averaged
//! over it while backward runs.
//!
//! Every rank takes its contiguous share of each global batch ([`crate::loader::Shard`]), so N ranks see the batches of
//! one; they differ from one process by the order of sums only. Rank 0 writes checkpoints and evaluates; what it found
//! is told to the others, so that all take the same decisions.

use std::ffi::c_void;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::world::{self, World};
use common::{Error, Result, cli};
use tch::{Device, Kind, Tensor};

use crate::errors::Doing;
use crate::loader::Shard;
use crate::shim;
pub use crate::shim::Reduce;

/// Time that one rank may keep the others waiting, for instance by an evaluation.
const PATIENCE: Duration = Duration::from_secs(4 * 3600);
/// Time between two signs of life.
const BEAT: Duration = Duration::from_millis(250);
/// Time that a process has to notice by itself, and to say better, that another one is gone.
const GRACE: Duration = Duration::from_secs(5);
/// Size of a gradient bucket, and of the first one, which is sent while most of backward is still to be done.
const BUCKET: (i64, i64) = (1 << 20, 25 << 20);

static GROUP: OnceLock<Group> = OnceLock::new();
static LEAVING: AtomicBool = AtomicBool::new(false);
static SHARED_STATISTICS: AtomicBool = AtomicBool::new(false);

/// The processes that train together.
pub struct Group {
    raw: *mut c_void,
    world: World,
    /// Whether this process no longer watches the others, because one of them left.
    unwatched: AtomicBool,
}

// SAFETY: c10d's process groups may be used from any thread; the trainer uses it from one at a time.
unsafe impl Send for Group {}
// SAFETY: as above.
unsafe impl Sync for Group {}

/// Joins the processes that the environment names; does nothing where there is one only. Called once, before a run
/// folder is touched.
///
/// # Errors
/// [`Error::Failed`] when the others do not come within `patience`, naming the place of meeting.
pub fn join(patience: Duration) -> Result<()> {
    let Some(world) = World::of_environment()? else { return Ok(()) };
    world::set_rank(world.rank, world.local_rank);
    let (rank, size, place) = (world.rank, world.size, format!("{}:{}", world.address, world.port));
    let begun = Instant::now();
    let raw = shim::group_open(&world, patience, PATIENCE).map_err(|error| {
        let cause = error.to_string();
        Error::failed(format!(
            "rank {rank} of {size} waited {} s for the others at {place}: {}",
            begun.elapsed().min(patience).as_secs(),
            cause.lines().next().unwrap_or_default()
        ))
        .hint("all ranks need the same MASTER_ADDR (the host of rank 0), MASTER_PORT and WORLD_SIZE, and every rank must run")
    })?;
    tracing::info!("{size} processes train together, met at {place}");
    let group = GROUP.get_or_init(|| Group { raw, world, unwatched: AtomicBool::new(false) });
    world::set_meeting(|| self::group().map_or(Ok(()), Group::barrier));
    let named = thread::Builder::new().name("watch".into());
    named.spawn(|| group.watch()).map_err(|e| Error::io("starting", "a thread that watches the other ranks", e))?;
    Ok(())
}

/// Tells the other processes that this one ends in good order, so that they do not follow it.
pub fn leave() {
    if let Some(group) = group() {
        LEAVING.store(true, Ordering::Relaxed);
        // The thread ends once the others know. One that cannot reach them has nobody left to tell.
        let last = Instant::now() + GRACE;
        while !group.unwatched.load(Ordering::Relaxed) && Instant::now() < last {
            thread::sleep(BEAT / 10);
        }
    }
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
    /// Ends this process when another one dies, also while it computes or waits for a GPU that waits for the dead one.
    fn watch(&self) {
        loop {
            match shim::group_beat(self.raw, LEAVING.load(Ordering::Relaxed)) {
                Ok(0) => thread::sleep(BEAT),
                Ok(_) => return self.unwatched.store(true, Ordering::Relaxed),
                Err(error) => {
                    thread::sleep(GRACE);
                    cli::end(&self.lost(&error));
                }
            }
        }
    }

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

    /// Lets tensors on this process's GPU travel, over NCCL; nothing to do on the CPU.
    fn add_gpu(&self, device: Device) -> Result<()> {
        let number = if let Device::Cuda(number) = device { number as f64 } else { -1.0 };
        // What tells machines apart, also where all have one name. Six bytes of its hash: exact in f64.
        let boot = Path::new("/proc/sys/kernel/random/boot_id");
        let hash = blake3::hash(&fs::read(boot).map_err(|e| Error::io("reading", boot, e))?);
        let host = hash.as_bytes()[..6].iter().fold(0.0, |sum, &byte| sum * 256.0 + f64::from(byte));
        apart(&self.gather(&[host, number])?)?;
        match device {
            Device::Cuda(_) => shim::group_add_nccl(self.raw, PATIENCE),
            _ => Ok(()),
        }
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
    /// Watches `params`; none where the process trains alone. On GPUs the gradients travel over NCCL.
    ///
    /// # Errors
    /// [`Error::Usage`] where two processes have one GPU, or some a GPU and others none.
    pub fn of(params: &[Tensor], device: Device) -> Result<Option<Self>> {
        let Some(group) = group() else { return Ok(None) };
        group.add_gpu(device)?;
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

/// Refuses places (machine, number of the GPU or -1) of the ranks that NCCL cannot connect.
fn apart(places: &[Vec<f64>]) -> Result<()> {
    let on_cpu = places.iter().filter(|place| place[1] < 0.0).count();
    if on_cpu == places.len() {
        return Ok(());
    }
    if on_cpu > 0 {
        let problem = format!("{on_cpu} of {} processes have no GPU, the others have", places.len());
        return Err(Error::usage(problem).hint("give all of them one (`CUDA_VISIBLE_DEVICES`), or `--device cpu`"));
    }
    for (rank, place) in places.iter().enumerate() {
        if let Some(other) = places[..rank].iter().position(|p| p == place) {
            let problem = format!("ranks {other} and {rank} would both train on GPU {} of one machine", place[1]);
            return Err(Error::usage(problem).hint("start one process for each GPU, with `--device auto` or `cuda`"));
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device;

    /// A group of one process.
    fn alone() -> *mut c_void {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (address, prefix) = ("127.0.0.1".to_string(), "alone".to_string());
        let world = World { rank: 0, size: 1, local_rank: 0, address, port, store_is_kept: false, prefix };
        shim::group_open(&world, GRACE, GRACE).unwrap()
    }

    #[test]
    fn tensors_on_a_gpu_travel_over_nccl() {
        let group = alone();
        let device = device::choose("auto").unwrap();
        let added = shim::group_add_nccl(group, GRACE);
        if device == Device::Cpu {
            // Either the CUDA part of libtorch is not here, or it says itself that there is no GPU.
            let text = added.unwrap_err().to_string();
            assert!(text.contains("the CUDA part of libtorch 2.11 is not loaded") || text.contains("GPU"), "{text}");
            return;
        }
        added.unwrap();
        let ours = Tensor::from_slice(&[1_f32, 2.0]).to_device(device);
        let sum = Vec::<f32>::try_from(shim::group_sum(group, &ours).unwrap().to_device(Device::Cpu)).unwrap();
        assert_eq!(sum, [1.0, 2.0]);
    }

    #[test]
    fn a_process_that_leaves_is_counted() {
        let group = alone();
        assert_eq!(shim::group_beat(group, false).unwrap(), 0);
        assert_eq!(shim::group_beat(group, true).unwrap(), 1);
    }

    const END: &str = "PODIUM_TEST_END";

    /// One of the two processes that the tests below start; by itself it tests nothing.
    #[test]
    fn one_of_two() {
        let Some(end) = std::env::var_os(END) else { return };
        join(Duration::from_secs(60)).unwrap();
        if world::leads() {
            // Busy with something that asks nothing of the other, longer than it takes to notice.
            thread::sleep(if end == "leave" { 2 * GRACE } else { 20 * GRACE });
        } else if end == "leave" {
            leave();
        } else {
            // The other one has come from the meeting, too.
            thread::sleep(4 * BEAT);
            // SAFETY: ends this process.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
        }
    }

    /// How rank 0 ended, and what it said, when rank 1 came to this end.
    fn rank_0_when_the_other(end: &str) -> (Option<i32>, String, Duration) {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let start = |rank: &str| {
            let mut command = std::process::Command::new(std::env::current_exe().unwrap());
            command.args(["parallel::tests::one_of_two", "--exact", "--nocapture"]).env(END, end).env("RANK", rank);
            command.env("WORLD_SIZE", "2").env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", port.to_string());
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).spawn().unwrap()
        };
        let begun = Instant::now();
        let (first, mut second) = (start("0"), start("1"));
        let output = first.wait_with_output().unwrap();
        second.wait().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned(), begun.elapsed())
    }

    #[test]
    fn a_rank_that_dies_ends_one_that_is_busy_with_something_else() {
        let (code, text, took) = rank_0_when_the_other("die");
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("error: rank 0 of 2 lost the others"), "{text}");
        assert!(took < Duration::from_secs(30), "{took:?}");
    }

    #[test]
    fn a_rank_that_leaves_does_not() {
        let (code, text, _) = rank_0_when_the_other("leave");
        assert_eq!(code, Some(0), "{text}");
    }

    #[test]
    fn every_process_has_a_gpu_of_its_own_or_none_has_one() {
        let place = |host: f64, gpu: f64| vec![host, gpu];
        for fine in [
            vec![place(1.0, -1.0), place(1.0, -1.0)],
            vec![place(1.0, 0.0), place(1.0, 1.0)],
            vec![place(1.0, 0.0), place(2.0, 0.0)],
        ] {
            apart(&fine).unwrap();
        }
        let text = apart(&[place(1.0, 0.0), place(2.0, 1.0), place(2.0, 1.0)]).unwrap_err().to_string();
        assert!(text.contains("ranks 1 and 2 would both train on GPU 1"), "{text}");
        let text = apart(&[place(1.0, 0.0), place(2.0, -1.0)]).unwrap_err().to_string();
        assert!(text.contains("1 of 2 processes have no GPU"), "{text}");
    }
}

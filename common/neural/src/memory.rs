//! What libraries keep for later: more of what the next step needs again, less of what it does not.

/// Prepared products that oneDNN keeps.
const PREPARED: &str = "64";

/// Sets both up. Only training and prediction call this, at their start and from the thread that will allocate: the process
/// then holds its peak until it ends.
pub fn for_long_runs() {
    keep_freed_blocks();
    bound_prepared_products();
}

/// Makes the C library keep freed blocks for reuse.
///
/// A step allocates and frees the same large blocks over and over. The C library hands blocks above 32 MiB straight
/// back to the system and trims the heap behind smaller ones, so every step pays for fresh pages again: for a network
/// of LSTM layers (batch 64, one thread) 2.2 s of CPU time a step instead of 1.7 s.
fn keep_freed_blocks() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // Newer C libraries take any threshold (activations of a published batch exceed 32 MiB), older ones up to that.
        const LARGEST_KEPT: libc::c_int = 1 << 30;
        const LARGEST_DOCUMENTED: libc::c_int = 32 << 20;
        const NEVER: libc::c_int = -1;
        const GROW_BY: libc::c_int = 16 << 20;
        // SAFETY: only sets parameters of the allocator, which takes its own lock.
        unsafe {
            if libc::mallopt(libc::M_MMAP_THRESHOLD, LARGEST_KEPT) == 0 {
                libc::mallopt(libc::M_MMAP_THRESHOLD, LARGEST_DOCUMENTED);
            }
            libc::mallopt(libc::M_TRIM_THRESHOLD, NEVER);
            libc::mallopt(libc::M_TOP_PAD, GROW_BY);
        }
    }
}

/// Bounds what oneDNN keeps of products that it has prepared, half a megabyte for each number of rows that it has seen.
///
/// Networks whose batches differ in length fill its store of 1,024: a graph network grew from 400 to 860 MiB in
/// 700 steps, and on. With few of them it stays at 400 and is as fast. `ONEDNN_PRIMITIVE_CACHE_CAPACITY` chooses otherwise.
fn bound_prepared_products() {
    const CAPACITY: &str = "ONEDNN_PRIMITIVE_CACHE_CAPACITY";
    if std::env::var_os(CAPACITY).is_none() {
        // SAFETY: called at the start, before the program has threads that read the environment.
        unsafe { std::env::set_var(CAPACITY, PREPARED) };
    }
}

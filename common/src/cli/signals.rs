//! Ctrl-C and SIGTERM: the first asks the run to save and stop, the second ends the process at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGINT, SIGTERM};

static ASKED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Installs the handlers; called once by [`super::main`].
pub(super) fn install() {
    let asked = ASKED.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM] {
        // Order matters: the shutdown looks at the flag before the second handler sets it.
        let _ = signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(asked));
        let _ = signal_hook::flag::register(signal, Arc::clone(asked));
    }
}

/// True once the user has asked the run to stop. Long work looks here between steps.
pub fn interrupted() -> bool {
    ASKED.get().is_some_and(|asked| asked.load(Ordering::Relaxed))
}

/// `Err(Interrupted)` once the user has asked to stop, for work that has nothing to save.
pub fn check(saved: &str) -> crate::Result<()> {
    if interrupted() { Err(crate::Error::Interrupted { saved: saved.into() }) } else { Ok(()) }
}

//! What lies on the disk: hashes of files and folders, DVC's lock, DVC's cache, and whether a stage is up to date.

pub mod cache;
pub mod gitignore;
pub mod guard;
pub mod hash;
pub mod ignore;
pub mod lock;
pub mod md5;
pub mod seen;
pub mod verdict;

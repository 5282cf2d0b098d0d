//! The networks of LEAP, a file a family.

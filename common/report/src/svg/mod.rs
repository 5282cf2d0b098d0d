//! Static SVG.

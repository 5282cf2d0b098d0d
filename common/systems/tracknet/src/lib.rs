//! TrackNET: building tracks of charged particles from hits, layer by layer (TrackML events).

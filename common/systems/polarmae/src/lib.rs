//! PoLAr-MAE: self-supervised learning on point clouds of liquid-argon time projection chambers (PILArNet-M).

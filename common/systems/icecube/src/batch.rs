//! One batch of events as tensors: what the data side makes and the networks take.

use common::{Error, Result};
use neural::Doing;
use tch::{Device, Kind, Tensor};

/// Events padded to the longest of the batch; all values of padded positions are 0.
#[derive(Debug)]
pub struct Batch {
    /// Scaled position of the sensor of each pulse (1 = 500 m), f32 `[B, L, 3]`.
    pub pos: Tensor,
    /// `(time_ns - 1e4) / 3e4`, f32 `[B, L]`.
    pub time: Tensor,
    /// `log10(charge) / 3`, f32 `[B, L]`.
    pub charge: Tensor,
    /// 1 where no neighbour saw light too, i64 `[B, L]`.
    pub auxiliary: Tensor,
    /// 1 on sensors of high quantum efficiency, i64 `[B, L]`.
    pub qe: Tensor,
    /// Scaled scattering and absorption length at the pulse, f32 `[B, L, 2]`.
    pub ice_properties: Tensor,
    /// True where there is a pulse, bool `[B, L]`.
    pub mask: Tensor,
    /// Number of the sensor, i64 `[B, L]`.
    pub sensor_id: Tensor,
    /// Pulses of the event before any were dropped (the published `L0`), i64 `[B]`.
    pub pulses: Tensor,
    /// Event id (the published `idx`), i64 `[B]`.
    pub event_id: Tensor,
    /// Azimuth and zenith in radians, f32 `[B, 2]`; none of events without truth.
    pub target: Option<Tensor>,
    /// Energy, vertex and kind, scaled as heads give them, f32 `[B, 5]`; none where nothing is known of them.
    pub extra: Option<Tensor>,
}

/// The published names, in the order of [`Batch::from_tensors`].
pub const NAMES: [&str; 11] =
    ["pos", "time", "charge", "auxiliary", "qe", "ice_properties", "mask", "sensor_id", "L0", "idx", "target"];

impl Batch {
    /// Takes the tensors in the order of [`NAMES`]; the target may be missing, and may be followed by what else is known. Cuts padding that no event of the batch
    /// needs, so the result does not depend on the configured length.
    pub fn from_tensors(tensors: &[Tensor]) -> Result<Self> {
        if !(NAMES.len() - 1..=NAMES.len() + 1).contains(&tensors.len()) {
            return Err(Error::failed(format!(
                "a batch of {} tensors, expected {} to {}",
                tensors.len(),
                NAMES.len() - 1,
                NAMES.len() + 1
            )));
        }
        let mask = &tensors[6];
        let doing = || "cutting a batch to its longest event";
        let longest = mask.f_sum_dim_intlist([1_i64].as_slice(), false, Kind::Int64).doing(doing())?;
        let longest = longest.f_max().doing(doing())?.f_int64_value(&[]).doing(doing())?.max(1);
        let cut = |i: usize| tensors[i].f_narrow(1, 0, longest.min(mask.size()[1])).doing(doing());
        Ok(Self {
            pos: cut(0)?,
            time: cut(1)?,
            charge: cut(2)?,
            auxiliary: cut(3)?,
            qe: cut(4)?,
            ice_properties: cut(5)?,
            mask: cut(6)?,
            sensor_id: cut(7)?,
            pulses: tensors[8].shallow_clone(),
            event_id: tensors[9].shallow_clone(),
            target: tensors.get(10).map(Tensor::shallow_clone),
            extra: tensors.get(11).map(Tensor::shallow_clone),
        })
    }

    /// Number of events.
    pub fn events(&self) -> i64 {
        self.mask.size()[0]
    }

    /// Padded length: pulses of the longest event.
    pub fn length(&self) -> i64 {
        self.mask.size()[1]
    }

    /// Where the tensors live.
    pub fn device(&self) -> Device {
        self.mask.device()
    }

    /// Valid pulses of each event.
    pub fn lengths(&self) -> Result<Vec<i64>> {
        let lengths = self.mask.f_sum_dim_intlist([1_i64].as_slice(), false, Kind::Int64).doing("counting pulses")?;
        Vec::try_from(lengths.to_device(Device::Cpu)).map_err(|e| Error::failed(format!("counting pulses: {e}")))
    }

    /// Azimuth and zenith, which the training and validation data have.
    pub fn truth(&self) -> Result<&Tensor> {
        self.target.as_ref().ok_or_else(|| Error::failed("the events of this batch have no true direction"))
    }
}

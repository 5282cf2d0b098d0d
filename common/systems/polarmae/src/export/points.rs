//! Raw points as a module reads them: voxels and energies, which are scaled and grouped inside.
//!
//! The search for groups takes another course for every event, so it is no recording but a text in TorchScript's language that
//! becomes part of the module. It gives the groups of [`crate::grouping::group`] bit by bit: distances are the same three products and
//! two sums in f32, ties go to the lowest index. Distances of whole events are held, `[points, points]`.

use common::Result;
use neural::export::{constant, script};
use tch::{Kind, Tensor};

use crate::energy::EnergyScale;
use crate::grouping::{CHANNELS, GroupingConfig, Reduction, Seeds};
use crate::models::recorded::Padded;
use crate::transforms::Transform;

/// Room for groups of an event where the network has no limit of its own.
const ROOM: usize = 512;

/// The walk of a group: `PREFIX` holds the numbers of a tokenizer.
const SCRIPT: &str = r#"
def within(queries: Tensor, points: Tensor, reach2: float, most: int) -> Tensor:
    x = queries[:, 0].unsqueeze(1) - points[:, 0].unsqueeze(0)
    y = queries[:, 1].unsqueeze(1) - points[:, 1].unsqueeze(0)
    z = queries[:, 2].unsqueeze(1) - points[:, 2].unsqueeze(0)
    near = (x * x + y * y + z * z) < reach2
    return near.logical_and(near.to(INTEGERS).cumsum(1) <= most)

def kept(places: Tensor, reach2: float, most: int) -> Tensor:
    near = within(places, places, reach2, most)
    order = torch.sort(near.to(INTEGERS).sum(1), stable=True, dim=0, descending=True)[1]
    own = torch.arange(places.size(0), device=places.device)
    alive = torch.ones([places.size(0)], dtype=FLAGS, device=places.device)
    for k in range(places.size(0)):
        i = int(order[k])
        if bool(alive[i]):
            alive = alive.logical_and(near[i].logical_and(own != i).logical_not())
    return alive

def farthest(places: Tensor, members: Tensor, slots: int) -> Tensor:
    nearest = torch.zeros(members.size(), device=places.device)
    nearest = nearest.masked_fill(members, float('inf')).masked_fill(members.logical_not(), -float('inf'))
    last = members.to(INTEGERS).argmax(1)
    taken: List[Tensor] = []
    for s in range(slots):
        taken.append(last)
        at = places[last]
        x = at[:, 0].unsqueeze(1) - places[:, 0].unsqueeze(0)
        y = at[:, 1].unsqueeze(1) - places[:, 1].unsqueeze(0)
        z = at[:, 2].unsqueeze(1) - places[:, 2].unsqueeze(0)
        nearest = torch.minimum(nearest, x * x + y * y + z * z)
        last = nearest.argmax(1)
    return torch.stack(taken, 1)

def brightest(energies: Tensor, members: Tensor, slots: int) -> Tensor:
    values = energies.unsqueeze(0).expand(members.size()).masked_fill(members.logical_not(), -float('inf'))
    order = torch.sort(values, stable=True, dim=1, descending=True)[1][:, :slots]
    room = torch.zeros([members.size(0), slots - order.size(1)], dtype=INTEGERS, device=members.device)
    return torch.cat([order, room], 1)

def means(values: Tensor, counts: Tensor) -> Tensor:
    zero = torch.zeros([values.size(0), values.size(2)], device=values.device)
    whole = zero
    rest = zero
    for begin in range(0, values.size(1), 16):
        total = zero
        for s in range(begin, min(begin + 16, values.size(1))):
            total = total + values[:, s]
        full = (counts >= begin + 16).unsqueeze(1)
        whole = torch.where(full, whole + total, whole)
        rest = torch.where(full, rest, rest + total)
    return (rest + whole) / counts.to(NUMBERS).unsqueeze(1)

def group(points: Tensor, mask: Tensor) -> Tensor:
    events: List[Tensor] = []
    for e in range(points.size(0)):
        cloud = points[e][mask[e]]
        packed = torch.zeros([0, SLOTS + 1, 5], device=points.device)
        if cloud.size(0) > 0:
            places = cloud[:, 0:3].detach()
            middles = cloud
            if SUPPRESS:
                middles = cloud[kept(places, REACH2, NEIGHBORS)]
            middles = middles[0:MOST]
            members = within(middles[:, 0:3].detach(), places, RADIUS2, UPSCALE)
            counts = members.to(INTEGERS).sum(1).clamp(max=SLOTS)
            if FARTHEST:
                chosen = farthest(places, members, SLOTS)
            else:
                chosen = brightest(cloud[:, 3].detach(), members, SLOTS)
            there = torch.arange(SLOTS, device=points.device).unsqueeze(0) < counts.unsqueeze(1)
            count = there.to(NUMBERS).unsqueeze(2)
            values = cloud[chosen.view(-1)].view([chosen.size(0), SLOTS, 4])
            zero = torch.zeros([middles.size(0), 1], device=points.device)
            if MEANS:
                middle = means(values * count, counts)
            else:
                middle = torch.cat([middles[:, 0:3], zero], 1)
            away = values - middle.unsqueeze(1)
            local = away[:, :, 0:3] / torch.full([1], RADIUS, device=points.device)
            if RELATIVE:
                energy = away[:, :, 3:4]
            else:
                energy = values[:, :, 3:4]
            slots = torch.cat([torch.cat([local, energy], 2) * count, count], 2)
            packed = torch.cat([slots, torch.cat([middle, zero], 1).unsqueeze(1)], 1)
        assert packed.size(0) <= ROOM, "an event has more groups than the module has room for"
        room = torch.zeros([ROOM - packed.size(0), SLOTS + 1, 5], device=points.device)
        events.append(torch.cat([packed, room], 0))
    return torch.stack(events, 0)
"#;

/// What happens to raw points.
#[derive(Debug, Clone)]
pub struct Points {
    /// Centre in voxels and factor of each step.
    steps: Vec<([f32; 3], f32)>,
    energy: Option<EnergyScale>,
    slots: i64,
    /// Groups that an event has room for.
    pub room: i64,
    center_width: i64,
    source: String,
}

/// Groups as tensors of a pass.
pub struct Found {
    features: Tensor,
    /// `[B, room, 3 or 4]`.
    pub centers: Tensor,
    mask: Tensor,
    /// The scaled points, `[B, P, 4]`.
    pub points: Tensor,
}

impl Found {
    /// As the networks take them.
    pub fn padded(&self) -> Padded<'_> {
        Padded { features: &self.features, centers: &self.centers, mask: &self.mask }
    }
}

impl Points {
    /// For a tokenizer and what is done to points before it; or why there is none.
    pub fn new(
        grouping: &GroupingConfig,
        transforms: &[Transform],
        energy: Option<EnergyScale>,
    ) -> std::result::Result<Self, String> {
        let step = |transform: &Transform| match transform {
            Transform::CenterAndScale { center, scale } => Ok((*center, *scale as f32)),
            _ => Err("transforms other than `center_and_scale` hang on whole events or on draws".to_string()),
        };
        let steps = transforms.iter().map(step).collect::<std::result::Result<Vec<_>, _>>()?;
        let Some(radius) = grouping.radius else {
            return Err("groups without a radius".into());
        };
        if grouping.seeds != Seeds::AllPoints {
            return Err("groups around farthest points, whose first one is drawn".into());
        }
        // Rounded once each, as a Python float handed to a kernel is.
        let squared = |reach: f64| f64::from(reach as f32 * reach as f32);
        let room = grouping.max_groups.unwrap_or(ROOM);
        let number = |value: f64| format!("{value:e}");
        let flag = |on: bool| if on { "True" } else { "False" }.to_string();
        let most = grouping.max_groups.map_or(i64::MAX, |most| most as i64);
        let words = [
            // i64, f32 and bool: number formats have no names outside of Python.
            ("INTEGERS", "4".to_string()),
            ("NUMBERS", "6".to_string()),
            ("FLAGS", "11".to_string()),
            ("REACH2", number(squared(2.0 * radius * grouping.overlap.unwrap_or(1.0)))),
            ("RADIUS2", number(squared(radius))),
            ("RADIUS", number(radius)),
            ("SUPPRESS", flag(grouping.overlap.is_some())),
            ("NEIGHBORS", grouping.suppression_neighbors.to_string()),
            ("UPSCALE", grouping.upscale_points.to_string()),
            ("FARTHEST", flag(grouping.reduction == Reduction::Fps)),
            ("MEANS", flag(grouping.mean_centers)),
            ("RELATIVE", flag(grouping.relative_features)),
            ("SLOTS", grouping.slots.to_string()),
            ("MOST", most.to_string()),
            ("ROOM", room.to_string()),
        ];
        let source = words.iter().fold(SCRIPT.to_string(), |text, (word, value)| text.replace(word, value));
        let center_width = if grouping.mean_centers { CHANNELS as i64 } else { 3 };
        Ok(Self { steps, energy, slots: grouping.slots as i64, room: room as i64, center_width, source })
    }

    /// Whether energies come in MeV; else on the network's scale.
    pub fn in_mev(&self) -> bool {
        self.energy.is_some()
    }

    /// Points that lie a few radii from one another: f32 `[events, points, 4]` around the origin in normalised units, as raw ones.
    pub fn raw(&self, normal: &Tensor) -> Tensor {
        let mut places = normal.narrow(2, 0, 3).to_kind(Kind::Float);
        for (center, scale) in self.steps.iter().rev() {
            places = places / f64::from(*scale) + Tensor::from_slice(center);
        }
        let energy = normal.narrow(2, 3, 1).abs();
        Tensor::cat(&[places, energy], 2)
    }

    /// Raw points as the programs scale them, an event's rows.
    pub fn scaled(&self, raw: &[f32]) -> Vec<f32> {
        let mut rows = raw.to_vec();
        if let Some(scale) = self.energy {
            rows.chunks_exact_mut(CHANNELS).for_each(|row| row[3] = scale.forward(f64::from(row[3])));
        }
        rows
    }

    /// Raw points `[B, P, 4]`, mask `[B, P]` to groups, in operations of the library.
    pub fn group(&self, points: &Tensor, mask: &Tensor) -> Result<Found> {
        let points = points.masked_fill(&mask.logical_not().unsqueeze(2), 0.0);
        let mut places = points.narrow(2, 0, 3).to_kind(Kind::Float);
        for (center, scale) in &self.steps {
            places = (places - constant(&Tensor::from_slice(center))) * f64::from(*scale);
        }
        let energy = points.narrow(2, 3, 1);
        let energy = match self.energy {
            Some(EnergyScale { floor, max }) => {
                let (low, high) = (floor.log10(), (floor + max).log10());
                let exponent = (energy.to_kind(Kind::Double) + floor).log10();
                (exponent - low) * 2.0 / (high - low) - 1.0
            }
            None => energy,
        };
        let points = Tensor::cat(&[places, energy.to_kind(Kind::Float)], 2);
        let packed = script(&self.source, "group", &[&points, mask])?; // [B, room, slots + 1, 5]
        let slots = packed.narrow(2, 0, self.slots);
        Ok(Found {
            features: slots.narrow(3, 0, CHANNELS as i64),
            centers: packed.select(2, self.slots).narrow(2, 0, self.center_width),
            mask: slots.select(3, CHANNELS as i64).gt(0.5),
            points,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grouping::group;
    use crate::models::floats;
    use common::seed::rng_for;
    use neural::init::Init;

    #[test]
    fn groups_are_those_of_the_search() {
        let base = GroupingConfig { slots: 20, upscale_points: 64, ..GroupingConfig::voxels_5(0.05) };
        let cases = [
            base.clone(),
            GroupingConfig { suppression_neighbors: 7, upscale_points: 9, slots: 4, ..base.clone() },
            GroupingConfig { mean_centers: true, relative_features: true, ..base.clone() },
            GroupingConfig { reduction: Reduction::Energy, slots: 6, ..base.clone() },
            GroupingConfig { overlap: None, max_groups: Some(30), ..base },
        ];
        for (case, config) in cases.iter().enumerate() {
            let steps = Transform::published_validation();
            let points = Points::new(config, &steps, None).unwrap();
            let counts = [60_i64, 1, 0, 33];
            let drawn = Init::Normal(0.4).draw(&[4, 60, 4], &mut rng_for(case as u64, "points", 0)).unwrap();
            let raw = points.raw(&Tensor::from_slice(&drawn).view([4, 60, 4]));
            let mask = Tensor::arange(60, (Kind::Int64, tch::Device::Cpu))
                .lt_tensor(&Tensor::from_slice(&counts).unsqueeze(1));
            let found = points.group(&raw, &mask).unwrap();
            for (event, &count) in (0..).zip(&counts) {
                let mut rows = floats(&raw.get(event).narrow(0, 0, count)).unwrap();
                crate::transforms::apply(&steps, &mut rows, CHANNELS, 0, 0, 0);
                let wanted = group(config, &rows, 0);
                let mask = found.mask.get(event);
                let groups = mask.any_dim(1, false);
                assert_eq!(groups.sum(Kind::Int64).int64_value(&[]), wanted.len() as i64, "{case}");
                let features = found.features.get(event).masked_select(&mask.unsqueeze(2));
                assert_eq!(floats(&features).unwrap(), wanted.features, "{case}");
                let centers = found.centers.get(event).masked_select(&groups.unsqueeze(1));
                assert_eq!(floats(&centers).unwrap(), wanted.centers, "{case}");
            }
        }
    }

    #[test]
    fn what_cannot_be_written_is_said() {
        let config = GroupingConfig::voxels_25(0.01);
        assert!(Points::new(&config, &[], None).unwrap_err().contains("farthest points"));
        let config = GroupingConfig::voxels_5(0.01);
        assert!(Points::new(&config, &[Transform::Center], None).unwrap_err().contains("center_and_scale"));
        assert!(Points::new(&config, &[], None).is_ok());
    }
}

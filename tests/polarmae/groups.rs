//! Groups in tensor form, which a network on a GPU uses, against the kernels of the CPU: equal to the last bit.

use common::seed::rng_for;
use polarmae::batched::group_all;
use polarmae::grouping::{CHANNELS, GroupingConfig, Groups, Reduction, Seeds, group};
use rand::RngExt;
use tch::Device;

/// Tracks and blobs on a grid, with many equal distances and a few doubled points.
fn event(points: usize, number: u64) -> Vec<f32> {
    let mut rng = rng_for(21, "batched", number);
    let mut rows = Vec::with_capacity(points * CHANNELS);
    let (mut place, mut step) = ([0i32; 3], [1i32, 0, 0]);
    for i in 0..points {
        if i % 60 == 0 {
            place = std::array::from_fn(|_| rng.random_range(0..60));
            step = std::array::from_fn(|_| rng.random_range(-1..=1));
        }
        for (at, by) in place.iter_mut().zip(step) {
            *at += if i % 120 < 60 { by } else { rng.random_range(-2..=2) };
        }
        rows.extend(place.map(|v| (v as f32 - 30.0) * 0.0015));
        rows.push(rng.random::<f32>() * 2.0 - 1.0);
    }
    rows
}

fn configs() -> Vec<(&'static str, GroupingConfig)> {
    let five = GroupingConfig::voxels_5(0.0015);
    let wide = GroupingConfig {
        upscale_points: 300,
        slots: 40,
        suppression_neighbors: 64,
        ..GroupingConfig::voxels_25(0.0015)
    };
    let crowded = GroupingConfig { suppression_neighbors: 8, upscale_points: 12, slots: 5, ..five.clone() };
    let energy = GroupingConfig { reduction: Reduction::Energy, slots: 6, relative_features: true, ..five.clone() };
    let nearest = GroupingConfig {
        seeds: Seeds::FarthestShare(9.5),
        overlap: None,
        radius: None,
        upscale_points: 11,
        slots: 4,
        ..five.clone()
    };
    vec![
        ("5 voxels", five.clone()),
        ("crowded lists", crowded),
        ("energy", energy),
        ("at most 7", GroupingConfig { max_groups: Some(7), ..five.clone() }),
        ("25 voxels", wide.clone()),
        ("means of energy, too", GroupingConfig { relative_features: true, ..wide }),
        ("nearest", nearest),
        ("no suppression", GroupingConfig { seeds: Seeds::Farthest(20), overlap: None, ..five }),
    ]
}

#[test]
fn tensor_form_and_kernels_make_the_same_groups_to_the_last_bit() {
    let mut events: Vec<Vec<f32>> = [700, 0, 1, 333, 5].iter().enumerate().map(|(i, &n)| event(n, i as u64)).collect();
    events.push([0.25, 0.25, 0.25, 0.5].repeat(40));
    let rows: Vec<&[f32]> = events.iter().map(Vec::as_slice).collect();
    let starts: Vec<u32> = rows.iter().map(|r| (r.len() / CHANNELS / 3) as u32).collect();
    for (name, config) in configs() {
        let together = group_all(&config, &rows, &starts, Device::Cpu).unwrap();
        let alone: Vec<Groups> = rows.iter().zip(&starts).map(|(rows, &start)| group(&config, rows, start)).collect();
        for (i, (together, alone)) in together.iter().zip(&alone).enumerate() {
            assert_eq!(together.members, alone.members, "{name}, event {i}");
            assert_eq!(together, alone, "{name}, event {i}");
        }
        assert!(alone[0].len() > 5, "{name}: {} groups", alone[0].len());
    }
}

#[test]
fn events_without_points_have_no_groups() {
    for (name, config) in configs() {
        let none = group_all(&config, &[&[], &[]], &[0, 0], Device::Cpu).unwrap();
        assert!(none.len() == 2 && none.iter().all(Groups::is_empty), "{name}");
        assert!(group_all(&config, &[], &[], Device::Cpu).unwrap().is_empty(), "{name}");
    }
}

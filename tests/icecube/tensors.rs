//! From the event store to tensors: events of every length, orders of training.

use std::sync::Arc;

use common::stage::Manifest;
use icecube::dataset::{EventSource, Events, InputConfig, Lengths};
use icecube::sampler::{self, Partition, SamplerConfig};
use icecube::selection::PulseRule;
use icecube::visit;
use neural::loader::Source;
use tch::{Kind, Tensor};

use crate::raw::{self, prepare};

const L: usize = 48;

fn events(given: &[raw::Given]) -> (tempfile::TempDir, Arc<Events>) {
    let folder = tempfile::tempdir().unwrap();
    let raw = raw::one_file(folder.path(), given);
    let out = folder.path().join("out");
    prepare().arg("test=null").arg("--raw").arg(raw).arg("--out").arg(&out).succeeds();
    let manifest = Manifest::read(&out.to_string_lossy()).unwrap();
    let events = Events::training(&manifest, &[], Lengths::Total).unwrap();
    (folder, Arc::new(events))
}

#[test]
fn events_of_every_length_become_tensors() {
    let lengths = [1, L - 1, L, L + 1, 20_000];
    let given: Vec<raw::Given> = lengths.iter().enumerate().map(|(i, &n)| (i as i64 + 10, n)).collect();
    let (_folder, events) = events(&given);
    for rule in [PulseRule::Uniform, PulseRule::PreferHlc, PulseRule::HlcThenTime, PulseRule::LightSpeed] {
        let input = InputConfig { length: L, rule, ..InputConfig::default() };
        let source = EventSource::new(Arc::clone(&events), input, 3);
        let batch = source.tensors(&[0, 1, 2, 3, 4]).unwrap();
        assert_eq!(batch[0].size(), [5, L as i64, 3]);
        let valid = Vec::<i64>::try_from(batch[6].sum_dim_intlist([1i64].as_slice(), false, Kind::Int64)).unwrap();
        assert_eq!(valid, [1, 47, 48, 48, 48]);
        assert_eq!(Vec::<i64>::try_from(&batch[8]).unwrap(), [1, 47, 48, 49, 20_000], "the pulses of the whole event");
        assert_eq!(Vec::<i64>::try_from(&batch[9]).unwrap(), [10, 11, 12, 13, 14]);
        // Padding is zero everywhere, kept pulses ascend in time.
        let padded = batch[6].logical_not();
        for tensor in [&batch[1], &batch[2], &batch[3], &batch[7]] {
            assert_eq!(tensor.masked_select(&padded).abs().sum(Kind::Double).double_value(&[]), 0.0);
        }
        for event in 1..5 {
            let time = batch[1].get(event).narrow(0, 0, valid[event as usize]);
            let step: Tensor = time.slice(0, 1, None, 1) - time.slice(0, 0, -1, 1);
            assert!(step.min().double_value(&[]) > 0.0, "{rule:?} event {event}");
        }
        // A batch is cut to its own longest event.
        assert_eq!(source.tensors(&[0]).unwrap()[0].size(), [1, 1, 3]);
    }
}

#[test]
fn the_choice_of_pulses_depends_on_event_and_visit_alone() {
    let (_folder, events) = events(&[(1, 300), (2, 300)]);
    let source =
        |seed| EventSource::new(Arc::clone(&events), InputConfig { length: L, ..InputConfig::default() }, seed);
    let time = |seed, rows: &[u64]| Vec::<f32>::try_from(source(seed).tensors(rows).unwrap()[1].get(0)).unwrap();
    assert_eq!(time(5, &[0]), time(5, &[0, 1]));
    assert_ne!(time(5, &[0]), time(6, &[0]));
    assert_ne!(time(5, &[0]), time(5, &[1 << 40]), "another visit, another choice");
    assert_eq!(visit::split(3 << 40 | 17), (17, 3));
}

#[test]
fn an_exact_partition_sees_every_event_once_a_pass_and_the_published_one_does_not() {
    let given: Vec<raw::Given> = (0..96).map(|i| (i, 1 + (i as usize * 13) % 60)).collect();
    let (_folder, events) = events(&given);
    let visited = |partition| {
        let config = SamplerConfig { sub_epochs: 4, partition, match_lengths: true };
        let order = sampler::training(&events, &config, L, 8, 5).unwrap();
        assert_eq!(order.len(), 24);
        let mut all: Vec<u64> = (0..4)
            .flat_map(|epoch| order.epoch(epoch).unwrap().rows(0, order.len()))
            .map(|row| visit::split(row).0)
            .collect();
        all.sort_unstable();
        all
    };
    assert_eq!(visited(Partition::Exact), (0..96).collect::<Vec<_>>());
    let mut compat = visited(Partition::Compat);
    compat.dedup();
    assert!(compat.len() < 90, "{} distinct events", compat.len());
}

#[test]
fn batches_larger_than_all_events_are_refused_with_the_numbers() {
    let (_folder, events) = events(&[(1, 3), (2, 3)]);
    // Fewer sub-epochs where eight of them would be less than a batch each.
    assert_eq!(sampler::training(&events, &SamplerConfig::default(), L, 2, 5).unwrap().len(), 2);
    let error = sampler::training(&events, &SamplerConfig::default(), L, 8, 5).unwrap_err().to_string();
    assert!(error.contains("there are 2 training events, one batch needs 8"), "{error}");
}

#[test]
fn a_filter_by_kappa_keeps_the_events_that_a_table_names() {
    use common::store::tables::{Column, Table, write_parquet};
    let (folder, events) = events(&[(1, 3), (2, 4), (3, 5)]);
    let path = folder.path().join("predictions.parquet");
    let mut table = Table::new();
    // Narrow types, as memory-saving scripts leave them.
    table.push("event_id", Column::I32(vec![3, 1, 2])).unwrap();
    table.push("kappa", Column::F32(vec![0.9, 0.2, 0.6])).unwrap();
    write_parquet(&path, &table).unwrap();
    let Ok(events) = Arc::try_unwrap(events) else { panic!("shared") };
    let kept = events.with_kappa(&path, 0.5).unwrap();
    assert_eq!((kept.len(), kept.event(0).unwrap().id, kept.pulses(1)), (2, 2, 5));
}

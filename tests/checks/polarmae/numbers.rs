//! Energies and coordinates.

use anyhow::Result;
use polarmae::energy::EnergyScale;
use polarmae::transforms;
use tch::Tensor;

use crate::checks::{Case, Comparison};

/// `energy_transform`: MeV to the scale and back.
pub fn energy_transform(case: &Case) -> Result<()> {
    let x = case.tensors("inputs.safetensors")?.f64s("x")?;
    let expected = case.tensors("expected.safetensors")?;
    let tolerance = case.f64("tolerance")?;
    let mut all = Comparison::new();
    for one in case.value("config.cases")?.as_array().into_iter().flatten() {
        let number = |key: &str| one[key].as_f64().unwrap_or(f64::NAN);
        let name = one["name"].as_str().unwrap_or_default();
        let scale = EnergyScale { floor: number("emin"), max: number("emax") };
        let y: Vec<f64> = x.iter().map(|&e| f64::from(scale.forward(e))).collect();
        all.values(&format!("y_{name}"), &y, &expected.f64s(&format!("y_{name}"))?, tolerance);
        let back: Vec<f64> =
            expected.f64s(&format!("y_{name}"))?.iter().map(|&y| f64::from(scale.inverse(y))).collect();
        all.values(&format!("inv_{name}"), &back, &expected.f64s(&format!("inv_{name}"))?, tolerance);
    }
    all.finish()
}

/// `transforms_basic`: each transform on a padded batch, whose rows of padding are points like all others here.
pub fn transforms(case: &Case) -> Result<()> {
    let inputs = case.tensors("inputs.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    let tolerance = case.f64("tolerance")?;
    let shape = inputs.shape("raw")?;
    let (events, points, width) = (shape[0], shape[1], shape[2]);
    let center = case.f64s("config.center")?.iter().map(|&c| c as f32).collect::<Vec<_>>();
    let mut all = Comparison::new();
    let mut check = |name: &str, rows: &[f32]| -> Result<()> {
        let got = Tensor::from_slice(rows).view([events as i64, points as i64, width as i64]);
        all.tensors(name, &got, &expected.get(name)?, tolerance);
        Ok(())
    };
    let mut scaled = inputs.f32s("raw")?;
    transforms::center_and_scale(
        &mut scaled,
        width,
        [center[0], center[1], center[2]],
        case.f64("config.scale_factor")? as f32,
    );
    check("center_and_scale", &scaled)?;
    let base = expected.f32s("center_and_scale")?;
    let angles = inputs.f32s("angles")?;
    let mut matrices = vec![];
    for i in 0..2 {
        let matrix = transforms::rotation([angles[3 * i], angles[3 * i + 1], angles[3 * i + 2]]);
        matrices.push(matrix);
        let mut rows = base.clone();
        transforms::rotate(&mut rows, width, &matrix);
        check(&format!("rotate_{i}"), &rows)?;
    }
    let draws = |name: &str| -> Result<[f32; 3]> {
        let values = inputs.f32s(name)?;
        Ok([values[0], values[1], values[2]])
    };
    let symmetries = case.i64s("config.symmetries")?;
    let factors = transforms::scale_factors(
        case.f64("config.scale_min")? as f32,
        case.f64("config.scale_max")? as f32,
        [symmetries[0] != 0, symmetries[1] != 0, symmetries[2] != 0],
        draws("u_scale")?,
        draws("u_sign")?,
    );
    let mut rows = base.clone();
    transforms::scale(&mut rows, width, factors);
    check("scale", &rows)?;
    let distance = case.f64("config.translation")? as f32;
    let mut rows = base.clone();
    transforms::translate(&mut rows, width, draws("u_scale")?.map(|u| (2.0 * u - 1.0) * distance));
    check("translate", &rows)?;
    let mut per_event = |name: &str, work: &dyn Fn(&mut [f32])| -> Result<()> {
        let mut rows = base.clone();
        rows.chunks_exact_mut(points * width).for_each(work);
        check(name, &rows)
    };
    per_event("centering", &|event| {
        let mean = transforms::mean(event, width);
        transforms::translate(event, width, mean.map(|m| -m));
    })?;
    per_event("unit_sphere", &|event| transforms::unit_sphere(event, width))?;
    let axis = case.usize("config.height_dim")?;
    per_event("height", &|event| transforms::height_norm(event, width, axis))?;
    let axis = case.usize("config.height_append_dim")?;
    let appended: Vec<f32> = base
        .chunks_exact(points * width)
        .flat_map(|event| {
            let heights = transforms::heights(event, width, axis);
            event
                .chunks_exact(width)
                .zip(heights)
                .flat_map(|(row, h)| row.iter().copied().chain([h]))
                .collect::<Vec<_>>()
        })
        .collect();
    let got = Tensor::from_slice(&appended).view([events as i64, points as i64, width as i64 + 1]);
    all.tensors("height_append", &got, &expected.get("height_append")?, tolerance);
    for (i, matrix) in matrices.iter().enumerate() {
        let got: Vec<f64> = matrix.iter().flatten().map(|&v| f64::from(v)).collect();
        all.values(&format!("rotmat_{i}"), &got, &expected.f64s(&format!("rotmat_{i}"))?, tolerance);
    }
    all.finish()
}

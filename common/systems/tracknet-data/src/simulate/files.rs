//! An event as csv files, with the six significant digits of the real ones.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use common::Result;
use common::durable::{self, Written};

use super::Event;

/// A number with six significant digits, as C's `%g` writes it.
pub fn six(value: f32) -> String {
    if value == 0.0 {
        return "0".into();
    }
    let text = format!("{:.5e}", f64::from(value));
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |t: &str| {
        if t.contains('.') { t.trim_end_matches('0').trim_end_matches('.').to_string() } else { t.to_string() }
    };
    if (-4..6).contains(&exponent) {
        trim(&format!("{:.*}", (5 - exponent).max(0) as usize, f64::from(value)))
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{}e{sign}{:02}", trim(mantissa), exponent.abs())
    }
}

/// Writes the three files of an event.
pub fn write(event: &Event, folder: &Path, name: &str, gzip: bool) -> Result<Vec<Written>> {
    let (hits, particles, truth) = (&event.hits, &event.particles, &event.truth);
    let mut text = String::from("hit_id,x,y,z,volume_id,layer_id,module_id\n");
    for i in 0..hits.len() {
        let [x, y, z] = hits.xyz[i].map(six);
        let _ =
            writeln!(text, "{},{x},{y},{z},{},{},{}", hits.hit_id[i], hits.volume[i], hits.layer[i], hits.module[i]);
    }
    let mut written = vec![publish(folder, name, "hits", gzip, &text)?];
    text = String::from("particle_id,vx,vy,vz,px,py,pz,q,nhits\n");
    for i in 0..particles.particle_id.len() {
        let ([vx, vy, vz], [px, py, pz]) = (particles.vertex[i].map(six), particles.momentum[i].map(six));
        let (id, q, n) = (particles.particle_id[i], particles.charge[i], particles.nhits[i]);
        let _ = writeln!(text, "{id},{vx},{vy},{vz},{px},{py},{pz},{q},{n}");
    }
    written.push(publish(folder, name, "particles", gzip, &text)?);
    text = String::from("hit_id,particle_id,tx,ty,tz,tpx,tpy,tpz,weight\n");
    for i in 0..truth.hit_id.len() {
        let ([x, y, z], [px, py, pz]) = (truth.position[i].map(six), truth.momentum[i].map(six));
        let (hit, id, weight) = (truth.hit_id[i], truth.particle_id[i], six(truth.weight[i]));
        let _ = writeln!(text, "{hit},{id},{x},{y},{z},{px},{py},{pz},{weight}");
    }
    written.push(publish(folder, name, "truth", gzip, &text)?);
    Ok(written)
}

fn publish(folder: &Path, name: &str, part: &str, gzip: bool, text: &str) -> Result<Written> {
    if !gzip {
        return durable::write(folder.join(format!("{name}-{part}.csv")), text.as_bytes());
    }
    durable::write_with(folder.join(format!("{name}-{part}.csv.gz")), |out| {
        let mut packer = flate2::write::GzEncoder::new(out, flate2::Compression::fast());
        packer.write_all(text.as_bytes())?;
        packer.finish().map(|_| ())
    })
}

#[cfg(test)]
mod tests {
    use super::six;

    #[test]
    fn numbers_have_six_significant_digits() {
        let pairs = [
            (0.0, "0"),
            (-64.4099, "-64.4099"),
            (1502.5, "1502.5"),
            (1.25e-5, "1.25e-05"),
            (1e6, "1e+06"),
            (0.001, "0.001"),
        ];
        for (value, text) in pairs {
            assert_eq!(six(value), text);
        }
    }
}

//! What the attributes of a variable say about its numbers: which are missing, how they are packed.
//!
//! As netCDF4-python reads them. Missing is what equals `_FillValue` or one of `missing_value`, the library's own fill
//! value where the file names no other (bytes have none), and what lies outside of `valid_range`, `valid_min` and
//! `valid_max`; all of these are compared with the stored numbers, in the variable's type. Then `scale_factor` and
//! `add_offset` apply. A marker that the variable's type cannot hold says nothing.

use super::{Attribute, Float, NcType, Variable};

/// How stored numbers become values.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Convention {
    missing: Vec<f64>,
    least: Option<f64>,
    most: Option<f64>,
    /// Numbers of signed type stand for unsigned ones: what is added below zero.
    unsigned: Option<f64>,
    scale: f64,
    offset: f64,
}

impl Convention {
    /// An error is the text after the variable's name.
    pub(super) fn of(variable: &Variable) -> Result<Self, String> {
        let kind = variable.kind;
        let unsigned = match (variable.attributes.get("_Unsigned"), kind) {
            (Some(Attribute::Text(text)), NcType::I8 | NcType::I16 | NcType::I32 | NcType::I64)
                if text.eq_ignore_ascii_case("true") =>
            {
                Some((8.0 * kind.size() as f64).exp2())
            }
            _ => None,
        };
        let stored = |name: &str| -> Vec<f64> {
            let numbers = variable.attributes.get(name).map(numbers).unwrap_or_default();
            let held = numbers.into_iter().filter_map(|value| held(kind, value));
            held.map(|v| unsigned.filter(|_| v < 0.0).map_or(v, |more| v + more)).collect()
        };
        let mut missing = stored("_FillValue");
        if missing.is_empty() {
            missing.extend(default_fill(kind));
        }
        missing.extend(stored("missing_value"));
        missing.retain(|value| !value.is_nan());
        let (least, most) = match stored("valid_range").as_slice() {
            &[least, most] => (Some(least), Some(most)),
            _ => (stored("valid_min").first().copied(), stored("valid_max").first().copied()),
        };
        let packed = |name: &str, plain: f64| match variable.attributes.get(name) {
            None => Ok(plain),
            Some(attribute) => match numbers(attribute).as_slice() {
                &[value] if value.is_finite() => Ok(value),
                found => Err(format!("`{name}` is {found:?}, expected one finite number")),
            },
        };
        Ok(Self {
            missing,
            least: least.filter(|v| !v.is_nan()),
            most: most.filter(|v| !v.is_nan()),
            unsigned,
            scale: packed("scale_factor", 1.0)?,
            offset: packed("add_offset", 0.0)?,
        })
    }

    /// Whether values are the stored numbers.
    pub(super) fn is_plain(&self) -> bool {
        self.scale == 1.0 && self.offset == 0.0 && self.unsigned.is_none()
    }

    /// Makes values of stored numbers; what is missing becomes NaN.
    pub(super) fn apply<T: Float>(&self, values: &mut [T]) {
        if let Some(more) = self.unsigned {
            values.iter_mut().filter(|v| v.wide() < 0.0).for_each(|v| *v = T::rounded(v.wide() + more));
        }
        for missing in self.missing.iter().map(|&v| T::rounded(v)) {
            values.iter_mut().filter(|v| **v == missing).for_each(|v| *v = T::NAN);
        }
        if let Some(least) = self.least.map(T::rounded) {
            values.iter_mut().filter(|v| **v < least).for_each(|v| *v = T::NAN);
        }
        if let Some(most) = self.most.map(T::rounded) {
            values.iter_mut().filter(|v| **v > most).for_each(|v| *v = T::NAN);
        }
        if self.scale != 1.0 || self.offset != 0.0 {
            values.iter_mut().for_each(|v| *v = T::rounded(v.wide() * self.scale + self.offset));
        }
    }
}

/// Numbers of an attribute; some writers put them down as text.
fn numbers(attribute: &Attribute) -> Vec<f64> {
    match attribute {
        Attribute::Numbers(numbers) => numbers.clone(),
        Attribute::Text(text) => text.lines().filter_map(|line| line.trim().parse().ok()).collect(),
    }
}

/// A number as a variable of this type holds it; none where it does not.
fn held(kind: NcType, value: f64) -> Option<f64> {
    let whole = |least: f64, most: f64| (value.fract() == 0.0 && (least..=most).contains(&value)).then_some(value);
    match kind {
        NcType::F64 => Some(value),
        NcType::F32 => Some(f64::from(value as f32)),
        NcType::I8 => whole(-128.0, 127.0),
        NcType::U8 => whole(0.0, 255.0),
        NcType::I16 => whole(-32_768.0, 32_767.0),
        NcType::U16 => whole(0.0, 65_535.0),
        NcType::I32 => whole(f64::from(i32::MIN), f64::from(i32::MAX)),
        NcType::U32 => whole(0.0, f64::from(u32::MAX)),
        NcType::I64 => whole(i64::MIN as f64, i64::MAX as f64),
        NcType::U64 => whole(0.0, u64::MAX as f64),
        NcType::Text | NcType::Other => None,
    }
}

/// What the library writes where nothing was written; bytes may hold anything.
fn default_fill(kind: NcType) -> Option<f64> {
    const FLOAT: f32 = 9.969_21e36;
    match kind {
        NcType::F64 | NcType::F32 => Some(FLOAT.into()),
        NcType::I16 => Some(-32_767.0),
        NcType::U16 => Some(65_535.0),
        NcType::I32 => Some(-2_147_483_647.0),
        NcType::U32 => Some(4_294_967_295.0),
        NcType::I64 => Some(-9_223_372_036_854_775_806.0),
        NcType::U64 => Some(18_446_744_073_709_551_614.0),
        NcType::I8 | NcType::U8 | NcType::Text | NcType::Other => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{NcFile, NcKind, NcValues, NcWriter};
    use super::*;

    fn variable(kind: NcType, attributes: &[(&str, Attribute)]) -> Variable {
        let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        Variable { name: "x".into(), dims: vec![], shape: vec![], kind, attributes }
    }

    fn read(kind: NcType, attributes: &[(&str, Attribute)], stored: &[f64]) -> Vec<f64> {
        let mut values = stored.to_vec();
        Convention::of(&variable(kind, attributes)).unwrap().apply(&mut values);
        values
    }

    fn one(value: f64) -> Attribute {
        Attribute::Numbers(vec![value])
    }

    #[track_caller]
    fn same(found: &[f64], expected: &[f64]) {
        let equal = |(a, b): (&f64, &f64)| a == b || (a.is_nan() && b.is_nan());
        assert!(found.len() == expected.len() && found.iter().zip(expected).all(equal), "{found:?} {expected:?}");
    }

    const NAN: f64 = f64::NAN;

    #[test]
    fn both_markers_and_every_one_of_a_list_are_missing() {
        let both = [("_FillValue", one(-1.0)), ("missing_value", Attribute::Numbers(vec![1e20, -999.0]))];
        same(&read(NcType::F64, &both, &[-1.0, 2.0, 1e20, -999.0]), &[NAN, 2.0, NAN, NAN]);
        // The marker counts as the variable's type holds it.
        let stored = f64::from(1e20_f32);
        same(&read(NcType::F32, &both, &[stored, 3.0]), &[NAN, 3.0]);
        same(&read(NcType::I16, &both, &[-999.0, -1.0, 5.0]), &[NAN, NAN, 5.0]);
        same(&read(NcType::F64, &[("missing_value", Attribute::Text("-9".into()))], &[-9.0, 1.0]), &[NAN, 1.0]);
    }

    #[test]
    fn the_librarys_own_fill_value_counts_where_no_other_is_named() {
        let fill = 9.969_209_968_386_869e36;
        same(&read(NcType::F64, &[], &[fill, 1.0]), &[NAN, 1.0]);
        same(&read(NcType::F64, &[("_FillValue", one(0.0))], &[fill, 0.0]), &[fill, NAN]);
        same(&read(NcType::I8, &[], &[-127.0]), &[-127.0]);
    }

    #[test]
    fn ranges_and_packing_apply_to_stored_numbers() {
        let packed = [("scale_factor", one(0.5)), ("add_offset", one(10.0)), ("_FillValue", one(-7.0))];
        same(&read(NcType::I16, &packed, &[-7.0, 4.0]), &[NAN, 12.0]);
        let range = [("valid_range", Attribute::Numbers(vec![0.0, 10.0])), ("scale_factor", one(2.0))];
        same(&read(NcType::I32, &range, &[-1.0, 0.0, 10.0, 11.0]), &[NAN, 0.0, 20.0, NAN]);
        let unsigned = [("_Unsigned", Attribute::Text("true".into())), ("_FillValue", one(-1.0))];
        same(&read(NcType::I8, &unsigned, &[-1.0, -2.0, 3.0]), &[NAN, 254.0, 3.0]);
        assert!(
            Convention::of(&variable(NcType::F64, &[("scale_factor", one(1.0)), ("add_offset", one(0.0))]))
                .unwrap()
                .is_plain()
        );
        let wrong = variable(NcType::F64, &[("scale_factor", Attribute::Numbers(vec![1.0, 2.0]))]);
        assert!(Convention::of(&wrong).unwrap_err().contains("`scale_factor` is [1.0, 2.0]"));
    }

    #[test]
    fn files_of_both_families_are_masked_and_unpacked_alike() {
        let folder = tempfile::tempdir().unwrap();
        for kind in [NcKind::Cdf2, NcKind::Hdf5] {
            let mut writer = NcWriter::new(kind);
            writer.dimension("n", 2).unwrap();
            writer.variable("a", &["n"], NcValues::F32(&[1.0, 1e20])).unwrap();
            writer.attribute("a", "_FillValue", one(-1.0)).unwrap();
            writer.attribute("a", "missing_value", one(1e20)).unwrap();
            writer.variable("b", &["n"], NcValues::I32(&[1, 2])).unwrap();
            writer.attribute("b", "scale_factor", one(0.5)).unwrap();
            let written = writer.write(folder.path().join("x.nc")).unwrap();
            let file = NcFile::open(&written.path).unwrap();
            same(&file.read_f64("a").unwrap(), &[1.0, NAN]);
            let narrow = file.read_f32("a").unwrap();
            assert!(narrow[0] == 1.0 && narrow[1].is_nan());
            same(&file.read_f64("b").unwrap(), &[0.5, 1.0]);
            assert_eq!(file.read_f32("b").unwrap(), [0.5, 1.0]);
        }
    }
}

//! netCDF-4 files (HDF5). What a plain file holds, and where, is read from its bytes ([`super::plain`]); of others the C library
//! says it, whose calls are served one at a time by a lock of the process. Numbers are read and inflated outside of it, by the
//! thread that asks for them, but for what is odd: that the library reads.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use hdf5::Datatype;
use netcdf::AttributeValue;
use netcdf::types::{FloatType, IntType, NcVariableType};

use crate::store::hdf5::Stored;
use crate::store::map::Mapped;

use super::numbers::put;
use super::plain::{self, NO_COORDINATE, Places};
use super::{Attribute, Catalogue, Dimension, Float, NcType, Variable};

/// Groups within each other, and groups and ways to them. Files in use have a few.
const DEEPEST: usize = 100;
const MOST: usize = 5000;

/// An open file.
#[derive(Debug)]
pub(super) struct Hdf {
    content: Mapped,
    /// Where variables lie, in a plain file.
    places: Option<Places>,
    /// The C library's view, opened when it is needed first.
    library: OnceLock<Result<Library, String>>,
}

#[derive(Debug)]
struct Library {
    /// The same file as the library below sees it, closed first.
    below: Option<hdf5::File>,
    file: netcdf::File,
}

impl Library {
    fn open(path: &Path) -> Result<(Catalogue, Self), String> {
        // An absolute path cannot be taken for a URL by the library.
        let absolute = std::path::absolute(path).map_err(|e| e.to_string())?;
        guarded(|| {
            let below = hdf5::File::open(&absolute).ok();
            if let Some(root) = &below {
                ending(root)?;
            }
            let file = netcdf::open(&absolute).map_err(|e| e.to_string())?;
            Ok((catalogue(&file)?, Self { below, file }))
        })
    }
}

impl Hdf {
    /// Opens a file and lists its root group. An error is the text after the path, and the content.
    pub(super) fn open(path: &Path, content: Mapped) -> Result<(Catalogue, Self), (String, Mapped)> {
        if let Some((catalogue, places)) = plain::catalogue(content.bytes()) {
            return Ok((catalogue, Self { content, places: Some(places), library: OnceLock::new() }));
        }
        match Library::open(path) {
            Ok((catalogue, library)) => Ok((catalogue, Self { content, places: None, library: Ok(library).into() })),
            Err(problem) => Err((problem, content)),
        }
    }

    fn library(&self) -> Result<&Library, String> {
        let opened = self.library.get_or_init(|| Library::open(self.content.path()).map(|(_, library)| library));
        opened.as_ref().map_err(Clone::clone)
    }

    /// Where the numbers of a variable lie, if nothing about it is odd. An error says what is wrong where the library should not
    /// read it either.
    fn stored(&self, variable: &Variable) -> Result<Option<Stored>, String> {
        let content = self.content.bytes();
        let stored = match &self.places {
            Some(places) => places.stored(content, variable)?,
            None => match guarded(|| self.below(variable))? {
                Some((set, path, plain)) => Stored::of(&set, &path, content)?.filter(|_| plain),
                None => None,
            },
        };
        // A dimension without limit may be longer than what was written along it, and what was never written is the library's.
        Ok(stored.filter(|stored| stored.shape() == variable.shape && !stored.has_holes()))
    }

    /// The data set of a variable, the path of the file that it was found in, and whether its numbers are those of this machine.
    fn below(&self, variable: &Variable) -> Result<Option<(hdf5::Dataset, PathBuf, bool)>, String> {
        let Some(below) = &self.library()?.below else { return Ok(None) };
        let found = || -> hdf5::Result<_> {
            let moved = format!("{NO_COORDINATE}{}", variable.name);
            let set = below.dataset(if below.link_exists(&moved) { &moved } else { &variable.name })?;
            let kind = match variable.kind {
                NcType::I8 => Datatype::from_type::<i8>()?,
                NcType::U8 => Datatype::from_type::<u8>()?,
                NcType::I16 => Datatype::from_type::<i16>()?,
                NcType::U16 => Datatype::from_type::<u16>()?,
                NcType::I32 => Datatype::from_type::<i32>()?,
                NcType::U32 => Datatype::from_type::<u32>()?,
                NcType::I64 => Datatype::from_type::<i64>()?,
                NcType::U64 => Datatype::from_type::<u64>()?,
                NcType::F32 => Datatype::from_type::<f32>()?,
                NcType::F64 => Datatype::from_type::<f64>()?,
                NcType::Text | NcType::Other => return Ok(None),
            };
            // Equal types have the order of bytes of this machine, too.
            let plain = set.dtype()? == kind;
            Ok(Some((set, PathBuf::from(below.filename()), plain)))
        };
        // What the library below does not find, that of netCDF reads, or says what is wrong.
        Ok(found().unwrap_or_default())
    }

    pub(super) fn read<T: Float>(&self, variable: &Variable, values: &mut Vec<T>) -> Result<(), String> {
        let bytes = variable.shape.iter().try_fold(variable.kind.size(), |n, &d| n.checked_mul(d));
        if bytes.is_none_or(|bytes| bytes > Stored::limit(self.content.bytes().len())) {
            return Err(format!("it has the impossible shape {:?}", variable.shape));
        }
        values.clear();
        if variable.elements() == 0 {
            return Ok(());
        }
        // Before anything is allocated: a hostile index ends here.
        let stored = self.stored(variable)?;
        values.resize(variable.elements(), T::default());
        if let Some(stored) = stored {
            return stored.runs(self.content.bytes(), |first, bytes| put(variable.kind, bytes, &mut values[first..]));
        }
        guarded(|| {
            let found = self.library()?.file.variable(&variable.name).ok_or("the variable vanished")?;
            found.get_values_into(values, ..).map_err(|e| e.to_string())
        })
    }
}

/// Looks whether the groups come to an end. The library of netCDF goes down into each of them, by links of every kind, and runs out of
/// stack where they lead in a circle.
fn ending(root: &hdf5::Group) -> Result<(), String> {
    let members = |group: hdf5::Group| {
        let names = group.member_names().unwrap_or_default();
        (group, names)
    };
    let mut open = vec![members(root.clone())];
    let mut met = 0;
    while let Some((group, left)) = open.last_mut() {
        let Some(name) = left.pop() else {
            open.pop();
            continue;
        };
        // A link to what is not there is no group.
        if group.loc_type_by_name(&name).is_ok_and(|kind| kind == hdf5::LocationType::Group)
            && let Ok(below) = group.group(&name)
        {
            open.push(members(below));
            met += 1;
        }
        if open.len() > DEEPEST || met > MOST {
            return Err(format!(
                "its groups lead into each other more than {DEEPEST} deep, or by more than {MOST} ways: the file is damaged"
            ));
        }
    }
    Ok(())
}

/// The wrapper of the C library unwraps names that are no UTF-8: in a damaged file that is an error like any other.
fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err("a name in the file is damaged".into()))
}

fn catalogue(file: &netcdf::File) -> Result<Catalogue, String> {
    let dimensions = file.dimensions().map(|d| Dimension { name: d.name(), len: d.len(), unlimited: d.is_unlimited() });
    let mut catalogue = Catalogue { dimensions: dimensions.collect(), ..Catalogue::default() };
    catalogue.attributes = attributes(file.attributes())?;
    for variable in file.variables() {
        catalogue.variables.push(Variable {
            name: variable.name(),
            dims: variable.dimensions().iter().map(netcdf::Dimension::name).collect(),
            shape: variable.dimensions().iter().map(netcdf::Dimension::len).collect(),
            // A type of the file's own that the wrapper cannot describe holds no numbers either.
            kind: catch_unwind(AssertUnwindSafe(|| kind(&variable.vartype()))).unwrap_or(NcType::Other),
            attributes: attributes(variable.attributes())?,
        });
    }
    Ok(catalogue)
}

fn kind(kind: &NcVariableType) -> NcType {
    match kind {
        NcVariableType::Int(IntType::U8) => NcType::U8,
        NcVariableType::Int(IntType::U16) => NcType::U16,
        NcVariableType::Int(IntType::U32) => NcType::U32,
        NcVariableType::Int(IntType::U64) => NcType::U64,
        NcVariableType::Int(IntType::I8) => NcType::I8,
        NcVariableType::Int(IntType::I16) => NcType::I16,
        NcVariableType::Int(IntType::I32) => NcType::I32,
        NcVariableType::Int(IntType::I64) => NcType::I64,
        NcVariableType::Float(FloatType::F32) => NcType::F32,
        NcVariableType::Float(FloatType::F64) => NcType::F64,
        NcVariableType::Char | NcVariableType::String => NcType::Text,
        _ => NcType::Other,
    }
}

fn attributes<'a>(listed: impl Iterator<Item = netcdf::Attribute<'a>>) -> Result<BTreeMap<String, Attribute>, String> {
    let mut attributes = BTreeMap::new();
    for attribute in listed {
        match attribute.value() {
            Ok(value) => attributes.insert(attribute.name().to_owned(), converted(value)),
            // Of a type of the file's own, as the fill value of an enumeration: it says nothing about numbers.
            Err(netcdf::Error::TypeUnknown(_)) => None,
            Err(e) => return Err(format!("attribute `{}`: {e}", attribute.name())),
        };
    }
    Ok(attributes)
}

fn converted(value: AttributeValue) -> Attribute {
    use AttributeValue as V;
    fn all<T: Copy>(values: &[T], wide: impl Fn(T) -> f64) -> Attribute {
        Attribute::Numbers(values.iter().map(|&v| wide(v)).collect())
    }
    match value {
        V::Str(text) => Attribute::Text(text),
        V::Strs(texts) => Attribute::Text(texts.join("\n")),
        V::Uchar(v) => all(&[v], f64::from),
        V::Uchars(v) => all(&v, f64::from),
        V::Schar(v) => all(&[v], f64::from),
        V::Schars(v) => all(&v, f64::from),
        V::Ushort(v) => all(&[v], f64::from),
        V::Ushorts(v) => all(&v, f64::from),
        V::Short(v) => all(&[v], f64::from),
        V::Shorts(v) => all(&v, f64::from),
        V::Uint(v) => all(&[v], f64::from),
        V::Uints(v) => all(&v, f64::from),
        V::Int(v) => all(&[v], f64::from),
        V::Ints(v) => all(&v, f64::from),
        V::Ulonglong(v) => all(&[v], |v| v as f64),
        V::Ulonglongs(v) => all(&v, |v| v as f64),
        V::Longlong(v) => all(&[v], |v| v as f64),
        V::Longlongs(v) => all(&v, |v| v as f64),
        V::Float(v) => all(&[v], f64::from),
        V::Floats(v) => all(&v, f64::from),
        V::Double(v) => all(&[v], |v| v),
        V::Doubles(v) => all(&v, |v| v),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a file with everything that plain ones have; `more` adds to it.
    fn written(path: &Path, more: impl FnOnce(&mut netcdf::FileMut)) {
        let mut file = netcdf::create_with(path, netcdf::Options::NETCDF4).unwrap();
        file.add_attribute("title", "three words here").unwrap();
        file.add_attribute("empty", "").unwrap();
        file.add_attribute("versions", vec![1i32, 2, 3]).unwrap();
        file.add_dimension("lev", 3).unwrap();
        file.add_dimension("ncol", 40).unwrap();
        file.add_unlimited_dimension("time").unwrap();
        let mut level = file.add_variable::<f64>("lev", &["lev"]).unwrap();
        level.put_values(&[1.0, 2.0, 3.0], ..).unwrap();
        for i in 0..12 {
            let mut state = file.add_variable::<f64>(&format!("state_{i}"), &["lev", "ncol"]).unwrap();
            if i % 3 > 0 {
                state.set_compression(4, i % 3 == 2).unwrap();
                state.set_chunking(&[1, 17]).unwrap();
            }
            state.put_attribute("units", "K").unwrap();
            state.put_attribute("_FillValue", -9.0f64).unwrap();
            for more in 0..i {
                state.put_attribute(&format!("more_{more}"), f64::from(more)).unwrap();
            }
            let values: Vec<f64> = (0..120).map(|v| f64::from(v * i % 7) / 3.0).collect();
            state.put_values(&values, ..).unwrap();
        }
        file.add_variable::<f32>("ps", &["time", "ncol"]).unwrap();
        for record in 0..5 {
            let values = [record as f32; 40];
            file.variable_mut("ps").unwrap().put_values(&values, (record..=record, ..)).unwrap();
        }
        file.add_variable::<i16>("one", &[]).unwrap().put_values(&[7], ()).unwrap();
        file.add_variable::<u8>("flags", &["ncol"]).unwrap().put_values(&[3; 40], ..).unwrap();
        more(&mut file);
        file.close().unwrap();
    }

    /// What our parser and the library find; none of ours where the library has to read it.
    fn both(path: &Path) -> (Option<Catalogue>, Result<Catalogue, String>) {
        let content = std::fs::read(path).unwrap();
        (
            plain::catalogue(&content).map(|(catalogue, _)| catalogue),
            Library::open(path).map(|(catalogue, _)| catalogue),
        )
    }

    /// The numbers of a variable by our reading, or by the library's.
    fn numbers(path: &Path, variable: &Variable, ours: bool) -> Result<Vec<f64>, String> {
        let content = Mapped::open(path).unwrap();
        let places = plain::catalogue(content.bytes()).map(|(_, places)| places).filter(|_| ours);
        let hdf = match places {
            Some(places) => Hdf { content, places: Some(places), library: OnceLock::new() },
            None => Hdf { content, places: None, library: Library::open(path).map(|(_, library)| library).into() },
        };
        let mut values = Vec::new();
        hdf.read(variable, &mut values).map(|()| values)
    }

    #[test]
    fn plain_files_are_read_without_the_library_and_as_it_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.nc");
        written(&path, |_| ());
        let (ours, library) = both(&path);
        let ours = ours.expect("it is plain");
        assert_eq!(ours, library.unwrap());
        for variable in &ours.variables {
            assert_eq!(
                numbers(&path, variable, true).unwrap(),
                numbers(&path, variable, false).unwrap(),
                "{variable:?}"
            );
            let stored = plain::catalogue(&std::fs::read(&path).unwrap())
                .map(|(_, places)| places.stored(&std::fs::read(&path).unwrap(), variable));
            assert!(stored.is_some_and(|stored| stored.is_ok_and(|stored| stored.is_some())), "{variable:?}");
        }
    }

    #[test]
    fn odd_files_stay_with_the_library() {
        type More = fn(&mut netcdf::FileMut);
        let odd: [(&str, More); 4] = [
            ("group", |file| _ = file.add_group("below").unwrap()),
            ("string", |file| _ = file.add_string_variable("names", &["lev"]).unwrap()),
            ("not_its_coordinate", |file| _ = file.add_variable::<f32>("ncol", &["lev"]).unwrap()),
            ("many", |file| (0..60).for_each(|i| _ = file.add_variable::<f32>(&format!("v{i}"), &["lev"]).unwrap())),
        ];
        let folder = tempfile::tempdir().unwrap();
        for (name, more) in odd {
            let path = folder.path().join(name);
            written(&path, more);
            let (ours, library) = both(&path);
            assert!(ours.is_none() || ours.as_ref() == library.as_ref().ok(), "{name}");
            let state = library.unwrap().variables.into_iter().find(|v| v.name == "state_5").unwrap();
            assert_eq!(numbers(&path, &state, true).unwrap(), numbers(&path, &state, false).unwrap(), "{name}");
        }
    }

    #[test]
    fn groups_that_lead_in_a_circle_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.nc");
        let opened = |links: &dyn Fn(&hdf5::File)| {
            let _ = std::fs::remove_file(&path);
            let file = hdf5::File::create(&path).unwrap();
            let below = file.create_group("g").unwrap().create_group("below").unwrap();
            below.new_dataset::<f32>().shape(3).create("x").unwrap();
            links(&file);
            drop((below, file));
            both(&path).1
        };
        opened(&|file| file.link_soft("/g/below/x", "alias").unwrap()).unwrap();
        let circles: [&dyn Fn(&hdf5::File); 4] = [
            &|file| file.link_hard("/g", "g/below/again").unwrap(),
            &|file| file.link_soft("/", "g/below/root").unwrap(),
            &|file| file.link_external("x.nc", "/g", "g/other").unwrap(),
            &|file| {
                file.link_soft("/g/below", "g/first").unwrap();
                file.link_soft("/g", "g/below/second").unwrap();
            },
        ];
        for circle in circles {
            let problem = opened(circle).unwrap_err();
            assert!(problem.contains("lead into each other"), "{problem}");
        }
    }

    /// A damaged file is refused, or read as the library reads it; nothing is read outside of it.
    #[test]
    fn a_flipped_bit_or_a_lost_end_never_reads_as_another_file() {
        let folder = tempfile::tempdir().unwrap();
        let (path, damaged) = (folder.path().join("x.nc"), folder.path().join("damaged.nc"));
        written(&path, |_| ());
        let content = std::fs::read(&path).unwrap();
        let whole = plain::catalogue(&content).unwrap().0;
        // Every flip costs a file that is written and opened by both.
        let stride = if std::env::var_os("PODIUM_LONG").is_some() { 1 } else { (content.len() / 150) | 1 };
        for at in (0..content.len()).step_by(stride) {
            let mut changed = content.clone();
            changed[at] ^= 1 << (at % 8);
            let Some((catalogue, places)) = plain::catalogue(&changed) else { continue };
            crate::durable::write(&damaged, &changed).unwrap();
            // A catalogue stands under checksums, but for the references to dimensions in the heap.
            assert!(
                catalogue == whole || Library::open(&damaged).is_ok_and(|(found, _)| found == catalogue),
                "byte {at}"
            );
            let library = Library::open(&damaged).map(|(_, library)| library);
            let library = Hdf { content: Mapped::open(&damaged).unwrap(), places: None, library: library.into() };
            for variable in &catalogue.variables {
                let Ok(Some(stored)) = places.stored(&changed, variable) else { continue };
                if stored.has_holes() {
                    continue;
                }
                let mut ours = vec![0.0f64; variable.elements()];
                let read = stored.runs(&changed, |first, bytes| put(variable.kind, bytes, &mut ours[first..]));
                let mut found = Vec::new();
                match (read, library.read(variable, &mut found).map(|()| found)) {
                    (Ok(()), Ok(library)) => {
                        let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                        assert_eq!(bits(&ours), bits(&library), "byte {at}, {}", variable.name);
                    }
                    (Err(_), _) => {}
                    (Ok(()), Err(problem)) => panic!("byte {at}, {}: the library says {problem}", variable.name),
                }
            }
        }
        for length in (0..content.len()).step_by(stride) {
            assert!(plain::catalogue(&content[..length]).is_none(), "{length}");
        }
    }
}

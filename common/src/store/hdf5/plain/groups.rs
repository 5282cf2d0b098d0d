//! Groups within groups. The library of netCDF goes down into each of them and runs out of stack where they hold each other.

use std::collections::HashMap;

use super::object::Object;
use super::root_address;

/// Groups within each other; netCDF's own tools make no more than a few.
const DEEPEST: usize = 500;

/// Looks whether the groups of a file come to an end. An error is the text after the path. What does not read is passed over:
/// the library says what is wrong with it.
pub fn nested(content: &[u8]) -> Result<(), String> {
    let Some(root) = root_address(content) else { return Ok(()) };
    let members = |address| Object::any(content, address).and_then(|object| object.members(content));
    // Groups that are gone through now, with what is left of each; and all that were met, and whether they are behind us.
    let mut open = vec![(root, members(root).unwrap_or_default())];
    let mut met = HashMap::from([(root, false)]);
    // Links take more bytes than this each, so a sound file has no more of them.
    let mut links = content.len() / 8;
    while let Some((address, left)) = open.last_mut() {
        let Some(next) = left.pop() else {
            met.insert(*address, true);
            open.pop();
            continue;
        };
        match met.get(&next) {
            Some(true) => {}
            Some(false) => return Err("has groups that hold each other in a circle: the file is damaged".into()),
            None => {
                let Some(members) = members(next) else {
                    met.insert(next, true);
                    continue;
                };
                links = links
                    .checked_sub(members.len())
                    .ok_or("has groups that share their members: the file is damaged")?;
                met.insert(next, false);
                open.push((next, members));
                if open.len() > DEEPEST {
                    return Err(format!("has more than {DEEPEST} groups within each other: the file is damaged"));
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_in_a_circle_and_too_deep_ones_are_told_in_old_and_new_files() {
        let folder = tempfile::tempdir().unwrap();
        for latest in [false, true] {
            let path = folder.path().join(format!("{latest}.h5"));
            let made = |links: &dyn Fn(&hdf5::File)| {
                let _ = std::fs::remove_file(&path);
                let mut builder = hdf5::FileBuilder::new();
                let builder = builder.with_fapl(|list| match latest {
                    true => list.libver_latest(),
                    false => list.libver_earliest(),
                });
                let file = builder.create(&path).unwrap();
                links(&file);
                drop(file);
                nested(&std::fs::read(&path).unwrap())
            };
            let deep = |count: usize| {
                move |file: &hdf5::File| {
                    (0..count).fold(file.create_group("g").unwrap(), |group, _| group.create_group("g").unwrap());
                }
            };
            // Many members, so that they lie in a heap; one group by two names; a link by a name alone.
            let sound = |file: &hdf5::File| {
                for i in 0..300 {
                    file.create_group(&format!("a group of a long name, number {i}")).unwrap();
                }
                let group = file.create_group("g").unwrap();
                group.create_group("below").unwrap();
                file.link_hard("/g/below", "again").unwrap();
                file.link_soft("/", "g/root").unwrap();
            };
            assert_eq!(made(&sound), Ok(()), "{latest}");
            assert_eq!(made(&deep(DEEPEST - 2)), Ok(()), "{latest}");
            let problem = made(&deep(DEEPEST)).unwrap_err();
            assert!(problem.contains("500 groups within each other"), "{latest}: {problem}");
            let circle = |file: &hdf5::File| {
                file.create_group("g").unwrap().create_group("below").unwrap();
                file.link_hard("/g", "g/below/g").unwrap();
            };
            let problem = made(&circle).unwrap_err();
            assert!(problem.contains("in a circle"), "{latest}: {problem}");
        }
        assert_eq!(nested(b"no file of this kind"), Ok(()));
    }
}

//! Whether tracks were prepared as a published config asks for: the original selects in training, here that was done before.

use std::path::Path;

use common::config;
use common::stage::{CONFIG, Manifest};
use serde::Serialize;

use crate::prepare::PrepareConfig;

/// Warns of every setting of the config's data set that the prepared tracks were not made by. Configs that are not the
/// original's say nothing of tracks.
pub fn tell_differences(file: Option<&Path>, overrides: &[String], prepared: &Manifest) {
    let Some(file) = file.filter(|file| config::is_hydra(file).unwrap_or(false)) else { return };
    let load = |overrides: &[String]| config::load::<PrepareConfig>(Some(file), overrides);
    // Overrides may be of keys that tracks have not.
    let Ok(asked) = load(overrides).or_else(|_| load(&[])) else { return };
    let Ok(found) = config::load::<PrepareConfig>(Some(&prepared.folder.join(CONFIG)), &[]) else { return };
    let told = differences(&asked.value, &found.value);
    if !told.is_empty() {
        tracing::warn!(
            "the tracks were prepared otherwise than `{}` asks for:\n  {}\n  nothing is selected in training: prepare them \
             by this config where it matters",
            file.display(),
            told.join("\n  ")
        );
    }
}

fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Settings that differ, each in a line.
fn differences(asked: &PrepareConfig, found: &PrepareConfig) -> Vec<String> {
    let mut told = Vec::new();
    let mut compare = |key: &str, asked: String, found: String| {
        if asked != found {
            told.push(format!("`{key}` is {found}, the config asks for {asked}"));
        }
    };
    compare("transforms", text(&asked.transforms), text(&found.transforms));
    let (wanted, there) = (&asked.filters, &found.filters);
    compare("filters.min_hits", text(&wanted.min_hits), text(&there.min_hits));
    compare("filters.min_pt", text(&wanted.min_pt), text(&there.min_pt));
    compare("filters.first_layers", text(&wanted.first_layers), text(&there.first_layers));
    compare("validation_split", text(&asked.validation_split), text(&found.validation_split));
    let lists = |config: &PrepareConfig| text(&config.blacklist_dir.as_ref().map(|_| "given"));
    compare("blacklist_dir", lists(asked), lists(found));
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_select_otherwise_are_named() {
        let config = |text: &str| -> PrepareConfig {
            config::load_text(Path::new("p.yaml"), &format!("system: tracknet\n{text}"), &[]).unwrap().value
        };
        let plain = config("");
        assert!(differences(&plain, &config("seed: 7\ndata_dirs: [elsewhere]\n")).is_empty());
        let told = differences(&config("filters: {min_pt: 2.0}\nblacklist_dir: lists\n"), &plain);
        assert_eq!(told.len(), 4, "{told:?}");
        assert!(told[1].contains("`filters.min_pt` is 1.0, the config asks for 2.0"), "{told:?}");
    }
}

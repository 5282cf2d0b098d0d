//! Colours of things: the same thing has the same colour on each page.
//!
//! There are seven hues that stay apart for readers of any colour vision (Okabe and Ito's, the last one after Tol), and an
//! ink for what stands above the others: a blend, the truth. A slot beyond the seventh is a hue again with another dash.

use std::collections::HashSet;

/// The hues on light ground, as CSS.
pub const LIGHT: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#c98500", "#3a9fd0", "#882255"];
/// The hues on dark ground.
pub const DARK: [&str; 7] = ["#4c9be8", "#ff8648", "#2dc79a", "#e59bc5", "#f2b632", "#8fd3ff", "#c86b9e"];
/// Ink on light ground.
pub const INK: &str = "#1b1f24";

/// Place of a thing in the palette: `-1` is ink, otherwise hue `slot % 7` with dash `slot / 7`.
pub type Slot = i32;

/// Things whose colour is fixed.
pub const FIXED: [(&str, Slot); 12] = [
    ("train", 0),
    ("valid", 1),
    ("test", 2),
    ("prediction", 1),
    ("truth", -1),
    ("blend", -1),
    ("all", -1),
    ("median", -1),
    ("ran", 0),
    ("up to date", 5),
    ("from the cache", 2),
    ("failed", 1),
];

/// Dashes to tell hues apart that are used again.
const DASHES: Slot = 4;

/// Who has which slot on one page.
#[derive(Debug, Default, Clone)]
pub struct Colors {
    /// Things that stand in one chart.
    together: Vec<Vec<String>>,
    given: Vec<(String, Slot)>,
}

impl Colors {
    /// Learns that these things are seen in one chart and must be told apart.
    pub fn together<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        self.together.push(names.into_iter().map(str::to_string).collect());
    }

    /// The slot of a thing: its fixed one, the one it was given before, that of its name's hash, or the next that nothing
    /// has which shares a chart with it. When all are taken, that of its hash again.
    pub fn of(&mut self, name: &str) -> Slot {
        if let Some((_, slot)) = FIXED.iter().find(|(fixed, _)| *fixed == name) {
            return *slot;
        }
        if let Some((_, slot)) = self.given.iter().find(|(given, _)| given == name) {
            return *slot;
        }
        let near: HashSet<&str> = self
            .together
            .iter()
            .filter(|names| names.iter().any(|other| other == name))
            .flat_map(|names| names.iter().map(String::as_str))
            .collect();
        let known = self.given.iter().map(|(name, slot)| (name.as_str(), *slot)).chain(FIXED);
        let taken: HashSet<Slot> = known.filter(|(name, _)| near.contains(name)).map(|(_, slot)| slot).collect();
        let hues = LIGHT.len() as Slot;
        let first = (hash(name) % LIGHT.len() as u64) as Slot;
        let in_turn = (0..DASHES).flat_map(|dash| (0..hues).map(move |step| dash * hues + (first + step) % hues));
        let slot = in_turn.into_iter().find(|slot| !taken.contains(slot)).unwrap_or(first);
        self.given.push((name.to_string(), slot));
        slot
    }

    /// All that were given out, in the order in which they came.
    pub fn given(&self) -> &[(String, Slot)] {
        &self.given
    }
}

/// CSS colour of a slot on light ground.
pub fn light(slot: Slot) -> &'static str {
    usize::try_from(slot).map_or(INK, |slot| LIGHT[slot % LIGHT.len()])
}

/// Lengths of strokes and gaps of a slot; empty for a solid line.
pub fn dash(slot: Slot) -> &'static str {
    ["", "7 3", "2 3", "9 3 2 3"][(slot.max(0) / LIGHT.len() as Slot) as usize % 4]
}

/// FNV-1a, which stays what it is: a page of next year has the colours of this year's.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_colour_and_no_two_share_one() {
        let names: Vec<String> = (0..28).map(|i| format!("member{i}")).collect();
        let mut colors = Colors::default();
        colors.together(names.iter().map(String::as_str));
        let mut slots: Vec<Slot> = names.iter().map(|name| colors.of(name)).collect();
        assert_eq!(slots, names.iter().map(|name| colors.of(name)).collect::<Vec<_>>());
        slots.sort_unstable();
        assert_eq!(slots, (0..28).collect::<Vec<_>>());
        assert_eq!(Colors::default().of("exp195"), Colors::default().of("exp195"));
        assert_eq!((colors.of("train"), colors.of("blend")), (0, -1));
        // What stands elsewhere may have a hue of these; what stands beside `train` may not have that one's.
        assert!(colors.of("elsewhere") < 7);
        for i in 0..20 {
            let mut colors = Colors::default();
            let name = format!("run{i}");
            colors.together(["train", &name]);
            assert_ne!(colors.of(&name), colors.of("train"));
        }
    }

    #[test]
    fn hues_stand_out_from_their_ground() {
        // Relative luminance and contrast after WCAG 2; 3 is demanded of graphics.
        let linear = |v: f64| if v <= 0.040_45 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) };
        let luminance = |hex: &str| {
            let part = |i: usize| linear(f64::from(u8::from_str_radix(&hex[i..i + 2], 16).unwrap()) / 255.0);
            0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
        };
        let contrast = |a: f64, b: f64| (a.max(b) + 0.05) / (a.min(b) + 0.05);
        for (hues, ground) in [(LIGHT, "#ffffff"), (DARK, "#14181d")] {
            for hue in hues {
                assert!(contrast(luminance(hue), luminance(ground)) >= 2.8, "{hue} on {ground}");
            }
        }
    }
}

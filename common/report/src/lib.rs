//! Pages that a scientist would show: charts, tables and headline figures in one HTML file that opens from `file://`
//! without a network, and the same charts as static SVG for papers.
//!
//! A [`Page`] is built block by block and becomes text by [`Page::html`]; who writes it to disk is the caller. The same
//! page gives the same bytes: nothing in it depends on time, machine or the order of a hash map. All strings are taken as
//! text: a member named `<script>` shows as that.
//!
//! ```
//! use report::{Axis, Chart, Figure, Page, Sense, Series};
//! let mut page = Page::new("exp195", "seed 47");
//! page.figure(Figure::new("valid/r2", 0.883).sense(Sense::Higher).note("step 900"));
//! page.section("Curves");
//! let loss = Series::line("train/loss", vec![(0.0, 1.0), (5.0, 0.5)]).colored("train");
//! page.chart(Chart::lines("Loss", Axis::new("step"), Axis::new("loss")).smoothing().with(loss));
//! assert!(page.html().starts_with("<!doctype html>"));
//! ```
//!
//! # Blocks
//! [`Page::section`] opens a section; [`Page::text`], [`Page::table`], [`Page::chart`], [`Page::code`],
//! [`Page::commands`] and [`Page::raw`] put blocks into it, in order. Neighbouring charts share rows of a grid.
//!
//! # Colours
//! A thing has the colour of its name ([`Series::colored`] names another thing): `train` and `valid` have fixed ones,
//! other names take the slot of their hash, or the next free one on a page. See [`color`].
//!
//! # Scenes of one's own
//! [`Raw`] is a block that a script draws: an empty stage, a JSON value and a module. The script is put into the page
//! once however many blocks name the module, and registers itself:
//!
//! ```js
//! Podium.module("tracks", (stage, data, kit) => {
//!   // stage: the empty <div> (its size is the block's, it may change); data: the block's JSON, parsed.
//!   // kit.color(name)     CSS colour of a thing, the same as in the charts of the page
//!   // kit.ink(what)       "text", "muted", "line", "page" or "panel" of the theme in force
//!   // kit.dark()          whether the theme is dark; kit.onTheme(f) calls f after a change, kit.onResize(stage, f) too
//!   // kit.number(x)       a number as the page's hovers show it
//!   // kit.tip(x, y, lines) shows the page's hover at client coordinates, kit.tip() hides it
//!   // kit.button(stage, label, title, f)  a button in the block's tool bar; kit.select(stage, label, names, f) a choice
//!   // kit.save(name, text or Blob, type)  a download
//!   // kit.floats(base64), kit.bytes(base64)  arrays that `report::floats` and `report::bytes` wrote
//! });
//! ```

mod arrays;
mod axis;
mod chart;
pub mod color;
mod csv;
mod heat;
mod page;
mod raw;
pub mod scene;
mod series;
pub mod svg;
mod table;
mod text;

pub use axis::Axis;
pub use chart::{Bar, Body, Chart, Mark};
pub use heat::{Heat, Sky};
pub use page::{Figure, Page, Sense};
pub use raw::{Raw, bytes, floats};
pub use series::{Series, Spread, Style};
pub use table::Table;
pub use text::{escape, number};

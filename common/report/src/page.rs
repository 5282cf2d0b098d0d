//! The page: its blocks and how they become one file.

use serde_json::{Value, json};

use crate::arrays::Arrays;
use crate::chart::Chart;
use crate::color::{self, Colors};
use crate::raw::Raw;
use crate::table::Table;
use crate::text::{escape, number, script, slug};

const STYLE: &str = include_str!("../assets/page.css");
const UPLOT_STYLE: &str = include_str!("../assets/uplot/uPlot.min.css");
const UPLOT: &str = include_str!("../assets/uplot/uPlot.iife.min.js");
const UPLOT_LICENCE: &str = include_str!("../assets/uplot/LICENSE");
/// The kit's own scripts, in the order in which they need each other.
const KIT: [&str; 7] = [
    include_str!("../assets/kit/core.js"),
    include_str!("../assets/kit/scale.js"),
    include_str!("../assets/kit/paint.js"),
    include_str!("../assets/kit/record.js"),
    include_str!("../assets/kit/frame.js"),
    include_str!("../assets/kit/maps.js"),
    include_str!("../assets/kit/page.js"),
];

/// Which way a figure is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sense {
    /// The higher the better.
    Higher,
    /// The lower the better.
    Lower,
}

/// A headline figure.
#[derive(Debug, Clone)]
pub struct Figure {
    name: String,
    value: String,
    sense: Option<Sense>,
    note: String,
}

impl Figure {
    /// A figure with its value, five digits.
    pub fn new(name: impl Into<String>, value: f64) -> Self {
        Self::text(name, number(value))
    }

    /// A figure whose value is text: a duration, a count with its unit.
    pub fn text(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into(), sense: None, note: String::new() }
    }

    /// Which way it is better.
    #[must_use]
    pub fn sense(mut self, sense: Sense) -> Self {
        self.sense = Some(sense);
        self
    }

    /// What else belongs to it: where it was reached, how it differs from a parent.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    fn html(&self) -> String {
        let (arrow, words) = match self.sense {
            Some(Sense::Higher) => ("↑ ", "higher is better"),
            Some(Sense::Lower) => ("↓ ", "lower is better"),
            None => ("", ""),
        };
        let notes = [words, &self.note].map(escape);
        let notes: Vec<&str> = notes.iter().map(String::as_str).filter(|note| !note.is_empty()).collect();
        format!(
            "<div class=\"figure\"><dt>{}</dt><dd><b>{}</b><span>{arrow}{}</span></dd></div>\n",
            escape(&self.name),
            escape(&self.value),
            notes.join(", ")
        )
    }
}

#[derive(Debug, Clone)]
enum Block {
    Section(String),
    Text(String),
    Table(Table),
    Chart(Box<Chart>),
    Code { title: String, text: String, folded: bool },
    Commands(Vec<(String, String)>),
    Raw(Box<Raw>),
}

/// A page under construction.
#[derive(Debug, Clone, Default)]
pub struct Page {
    title: String,
    subtitle: String,
    figures: Vec<Figure>,
    blocks: Vec<Block>,
}

impl Page {
    /// A page with a title and one line below it.
    pub fn new(title: impl Into<String>, subtitle: impl Into<String>) -> Self {
        Self { title: title.into(), subtitle: subtitle.into(), ..Self::default() }
    }

    /// Adds a headline figure; they stand at the top, in order.
    pub fn figure(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    /// Opens a section.
    pub fn section(&mut self, title: impl Into<String>) {
        self.blocks.push(Block::Section(title.into()));
    }

    /// Adds a paragraph.
    pub fn text(&mut self, text: impl Into<String>) {
        self.blocks.push(Block::Text(text.into()));
    }

    /// Adds a table; one without rows is left out.
    pub fn table(&mut self, table: Table) {
        if !table.rows.is_empty() {
            self.blocks.push(Block::Table(table));
        }
    }

    /// Adds a chart; one with nothing to draw is left out.
    pub fn chart(&mut self, chart: Chart) {
        if !chart.is_empty() {
            self.blocks.push(Block::Chart(Box::new(chart)));
        }
    }

    /// Adds text as it is, in a fixed-width font.
    pub fn code(&mut self, title: impl Into<String>, text: impl Into<String>) {
        self.blocks.push(Block::Code { title: title.into(), text: text.into(), folded: false });
    }

    /// As [`Page::code`], opened by a click.
    pub fn folded_code(&mut self, title: impl Into<String>, text: impl Into<String>) {
        self.blocks.push(Block::Code { title: title.into(), text: text.into(), folded: true });
    }

    /// Adds commands to copy, each with what it does.
    pub fn commands(&mut self, commands: impl IntoIterator<Item = (String, String)>) {
        self.blocks.push(Block::Commands(commands.into_iter().collect()));
    }

    /// Adds a block that a script of its own draws.
    pub fn raw(&mut self, raw: Raw) {
        self.blocks.push(Block::Raw(Box::new(raw)));
    }

    /// All charts, in order.
    pub fn charts(&self) -> impl Iterator<Item = &Chart> {
        self.blocks.iter().filter_map(|block| match block {
            Block::Chart(chart) => Some(chart.as_ref()),
            _ => None,
        })
    }

    /// The page as text.
    pub fn html(&self) -> String {
        let mut inside = Inside::default();
        self.charts().for_each(|chart| inside.colors.together(chart.things()));
        let body = self.body(&mut inside);
        let colors: Vec<Value> = inside.colors.given().iter().map(|(name, slot)| json!([name, slot])).collect();
        let data = json!({
            "palette": { "light": color::LIGHT, "dark": color::DARK },
            "fixed": color::FIXED,
            "colors": colors,
            "charts": inside.charts,
            "raw": inside.raw,
            "arrays": inside.arrays.all,
        });
        let title = escape(&self.title);
        let mut html = String::from("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
        html += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
        // The page asks nobody for anything, and a browser holds it to that.
        html += "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
                 script-src 'unsafe-inline'; img-src data: blob:\">\n";
        html += &format!("<title>{title}</title>\n<link rel=\"icon\" href=\"data:,\">\n");
        html += &format!("<style>\n{UPLOT_STYLE}\n{STYLE}\n{}</style>\n</head>\n<body>\n", inside.styles.join("\n"));
        html += &body;
        html += &format!("<script type=\"application/json\" id=\"data\">{}</script>\n", script(&data));
        html += &format!("<script>\n/* uPlot 1.6.32\n{UPLOT_LICENCE}*/\n{UPLOT}\n</script>\n");
        for part in KIT.iter().chain(&inside.scripts) {
            html += &format!("<script>\n{part}</script>\n");
        }
        html += "<script>Podium.start();</script>\n</body>\n</html>\n";
        html
    }

    fn body(&self, inside: &mut Inside) -> String {
        let mut html = format!("<header>\n<h1>{}</h1>\n", escape(&self.title));
        html += &format!("<p class=\"subtitle\">{}</p>\n", escape(&self.subtitle));
        html += &self.contents();
        html += "</header>\n<main>\n";
        html += "<noscript><p class=\"note\">Figures and tables are here; curves need JavaScript.</p></noscript>\n";
        if !self.figures.is_empty() {
            let figures: String = self.figures.iter().map(Figure::html).collect();
            html += &format!("<dl class=\"figures\">\n{figures}</dl>\n");
        }
        let (mut in_section, mut in_grid, mut number) = (false, false, 0);
        for block in &self.blocks {
            let in_row = matches!(block, Block::Chart(_) | Block::Raw(_));
            if in_grid && !in_row {
                html += "</div>\n";
            }
            if !in_grid && in_row {
                html += "<div class=\"grid\">\n";
            }
            in_grid = in_row;
            match block {
                Block::Section(title) => {
                    number += 1;
                    html += if in_section { "</section>\n" } else { "" };
                    html += &format!("<section id=\"s{number}\">\n<h2>{}</h2>\n", escape(title));
                    in_section = true;
                }
                Block::Text(text) => html += &format!("<p>{}</p>\n", escape(text)),
                Block::Table(table) => html += &table.html(),
                Block::Chart(chart) => html += &inside.chart(chart),
                Block::Code { title, text, folded } => html += &code(title, text, *folded),
                Block::Commands(commands) => html += &self::commands(commands),
                Block::Raw(raw) => html += &inside.raw(raw),
            }
        }
        html += if in_grid { "</div>\n" } else { "" };
        html += if in_section { "</section>\n" } else { "" };
        html += &format!("</main>\n<footer>Podium {}</footer>\n", env!("CARGO_PKG_VERSION"));
        html
    }

    /// Links to the sections, where there are several.
    fn contents(&self) -> String {
        let titles: Vec<&String> = self
            .blocks
            .iter()
            .filter_map(|block| if let Block::Section(title) = block { Some(title) } else { None })
            .collect();
        if titles.len() < 2 {
            return String::new();
        }
        let link = |(i, title): (usize, &&String)| format!("<a href=\"#s{}\">{}</a>", i + 1, escape(title));
        let links: Vec<String> = titles.iter().enumerate().map(link).collect();
        format!("<nav aria-label=\"sections\">{}</nav>\n", links.join("\n"))
    }
}

/// What the blocks hand to the scripts.
#[derive(Debug, Default)]
struct Inside {
    colors: Colors,
    arrays: Arrays,
    charts: Vec<Value>,
    raw: Vec<Value>,
    scripts: Vec<&'static str>,
    styles: Vec<&'static str>,
}

impl Inside {
    fn chart(&mut self, chart: &Chart) -> String {
        let number = self.charts.len();
        let value = chart.json(&mut self.colors, &mut self.arrays);
        self.charts.push(value);
        let wide = if chart.wide { " wide" } else { "" };
        let note = note(&chart.note);
        format!(
            "<figure class=\"chart{wide}\" id=\"c{number}\" data-chart=\"{number}\">\n<h3>{}</h3>\n{note}</figure>\n",
            escape(&chart.title)
        )
    }

    fn raw(&mut self, raw: &Raw) -> String {
        let number = self.raw.len();
        self.raw.push(json!({ "module": raw.module, "title": raw.title, "file": slug(&raw.title), "data": raw.data }));
        for script in &raw.scripts {
            if !self.scripts.contains(script) {
                self.scripts.push(script);
            }
        }
        if !raw.style.is_empty() && !self.styles.contains(&raw.style) {
            self.styles.push(raw.style);
        }
        let ratio = match raw.aspect {
            (0, _) | (_, 0) => String::new(),
            (width, height) => format!(" style=\"aspect-ratio: {width} / {height}\""),
        };
        format!(
            "<figure class=\"raw wide\" id=\"r{number}\" data-raw=\"{number}\">\n<h3>{}</h3>\n{}<div class=\"tools\"></div>\n\
             <div class=\"stage\"{ratio}></div>\n</figure>\n",
            escape(&raw.title),
            note(&raw.note)
        )
    }
}

fn note(note: &str) -> String {
    if note.is_empty() { String::new() } else { format!("<p class=\"note\">{}</p>\n", escape(note)) }
}

fn code(title: &str, text: &str, folded: bool) -> String {
    let (title, text) = (escape(title), escape(text));
    let pre = format!("<pre tabindex=\"0\">{text}</pre>");
    if folded {
        format!("<details class=\"code\"><summary><h3>{title}</h3></summary>\n{pre}\n</details>\n")
    } else {
        format!("<div class=\"code\"><h3>{title}</h3>\n{pre}\n</div>\n")
    }
}

fn commands(commands: &[(String, String)]) -> String {
    let one = |(what, command): &(String, String)| {
        format!("<dt>{}</dt><dd><code tabindex=\"0\">{}</code></dd>\n", escape(what), escape(command))
    };
    format!("<dl class=\"commands\">\n{}</dl>\n", commands.iter().map(one).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Axis, Series};

    fn page() -> Page {
        let mut page = Page::new("exp195</title>", "<seed> 47");
        page.figure(Figure::new("valid/r2", 0.8834).sense(Sense::Higher).note("at step <9>"));
        page.section("Curves");
        let loss = Series::line("</script><!--", vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 0.5)]);
        page.chart(Chart::lines("Loss", Axis::new("step"), Axis::new("loss")).with(loss));
        page.chart(Chart::lines("Empty", Axis::new("step"), Axis::new("loss")));
        page.raw(Raw::new("Event", "event", "Podium.module('event', () => {});\n", json!({ "name": "</script>" })));
        page.section("Rest");
        page.code("Config", "a: <b>");
        page
    }

    #[test]
    fn a_page_stands_alone_and_escapes_what_it_shows() {
        let html = page().html();
        assert_eq!(html, page().html());
        for part in ["&lt;seed&gt;", "↑ higher is better, at step &lt;9&gt;", "a: &lt;b&gt;", "exp195&lt;/title&gt;"]
        {
            assert!(html.contains(part), "{part}");
        }
        assert!(!html.contains("Empty"));
        let outside = ["src=", "href=\"http", "@import", "url(h", "fetch(", "XMLHttpRequest", "<seed>"];
        for part in outside {
            assert!(!html.contains(part), "{part}");
        }
        // Each script that opens is closed once: no text of the data did either.
        assert_eq!(html.matches("<script").count(), html.matches("</script>").count());
        assert_eq!(html.matches("</script>").count(), 2 + KIT.len() + 1 + 1);
        assert!(!html.contains("<!--"));
    }

    #[test]
    fn data_are_there_as_they_were_handed_over() {
        let html = page().html();
        let json = html.split("id=\"data\">").nth(1).unwrap().split("</script>").next().unwrap();
        let data: Value = serde_json::from_str(json).unwrap();
        assert_eq!(data["charts"][0]["series"][0]["name"], "</script><!--");
        let y = data["charts"][0]["series"][0]["y"].as_u64().unwrap() as usize;
        assert_eq!(data["arrays"][y], json!([1, null, 0.5]));
        assert_eq!(data["raw"][0]["data"]["name"], "</script>");
    }
}

//! Tables of a page: columns of numbers stand right, readers sort them by a click and take them as csv.

use crate::text::{escape, slug};

/// A table.
#[derive(Debug, Clone, Default)]
pub struct Table {
    pub(crate) title: String,
    pub(crate) note: String,
    pub(crate) header: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
    pub(crate) marked: Vec<usize>,
    pub(crate) folded: bool,
}

impl Table {
    /// A table without rows.
    pub fn new<T: Into<String>>(title: impl Into<String>, header: impl IntoIterator<Item = T>) -> Self {
        Self { title: title.into(), header: header.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Adds a row.
    pub fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Adds a row that stands out: the best, the sum, a difference.
    pub fn marked<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.marked.push(self.rows.len());
        self.row(cells);
    }

    /// With rows.
    #[must_use]
    pub fn rows(mut self, rows: Vec<Vec<String>>) -> Self {
        self.rows.extend(rows);
        self
    }

    /// A line below the title.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// Opens only after a click.
    #[must_use]
    pub fn folded(mut self) -> Self {
        self.folded = true;
        self
    }

    /// Whether a column holds numbers and nothing else.
    fn numeric(&self, column: usize) -> bool {
        let cells = || self.rows.iter().filter_map(|row| row.get(column)).filter(|c| !c.is_empty() && *c != "-");
        cells().next().is_some() && cells().all(|cell| leading_number(cell))
    }

    pub(crate) fn html(&self) -> String {
        let numeric: Vec<bool> = (0..self.header.len()).map(|column| self.numeric(column)).collect();
        let class = |column: usize| if numeric.get(column) == Some(&true) { " class=\"n\"" } else { "" };
        let mut html = format!("<figure class=\"table\" data-file=\"{}\">\n", slug(&self.title));
        let caption = format!("<h3>{}</h3>", escape(&self.title));
        html += &if self.folded { format!("<details><summary>{caption}</summary>\n") } else { format!("{caption}\n") };
        if !self.note.is_empty() {
            html += &format!("<p class=\"note\">{}</p>\n", escape(&self.note));
        }
        html += "<div class=\"scroll\" tabindex=\"0\"><table><thead><tr>";
        for (column, name) in self.header.iter().enumerate() {
            html += &format!("<th scope=\"col\"{}>{}</th>", class(column), escape(name));
        }
        html += "</tr></thead><tbody>\n";
        for (number, row) in self.rows.iter().enumerate() {
            html += if self.marked.contains(&number) { "<tr class=\"marked\">" } else { "<tr>" };
            for (column, cell) in row.iter().enumerate() {
                html += &format!("<td{}>{}</td>", class(column), escape(cell));
            }
            html += "</tr>\n";
        }
        html += "</tbody></table></div>\n";
        html += if self.folded { "</details></figure>\n" } else { "</figure>\n" };
        html
    }
}

/// Whether a cell starts with a number: `0.5`, `+1e-3`, `0.5 ± 0.1`, `12 %`.
fn leading_number(cell: &str) -> bool {
    cell.split_whitespace().next().is_some_and(|word| word.trim_end_matches('%').parse::<f64>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_right_and_text_stays_text() {
        let mut table = Table::new("A<b>", ["name", "r2"]);
        table.row(["<script>", "0.5 ± 0.1"]);
        table.marked(["b", "-"]);
        let html = table.html();
        assert!(html.contains("<td>&lt;script&gt;</td><td class=\"n\">0.5 ± 0.1</td>"), "{html}");
        assert!(html.contains("<tr class=\"marked\"><td>b</td>") && html.contains("A&lt;b&gt;"));
    }
}

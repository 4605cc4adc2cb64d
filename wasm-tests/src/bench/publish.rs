//! Puts the tables of the last run into the documents.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail, ensure};

use super::tables::{begin, end};

/// The table of instructions. It is in a file of its own.
pub(crate) const INSTRUCTIONS: &str = "instructions";

/// Replaces what stands between the marks in these documents by what stands between the same marks in `results.md` and
/// `instructions.md`. What belongs to a file that isn't there stays.
///
/// # Errors
/// When there are no results, a file can't be read or written, a document has no marks, or a mark has no table.
pub(crate) fn publish(results: &Path, documents: &[&Path]) -> Result<()> {
    let read = |path: &Path| fs::read_to_string(path).with_context(|| format!("reading {}", path.display()));
    let files = ["results.md", "instructions.md"].map(|name| results.join(name));
    let [timed, counted] = files.each_ref().map(|path| path.is_file());
    ensure!(timed || counted, "{} has no results: `make bench` writes them", results.display());
    let there = files.iter().filter(|path| path.is_file());
    let tables = there.map(|path| read(path)).collect::<Result<Vec<_>>>()?.concat();
    let is_measured = |name: &str| if name == INSTRUCTIONS { counted } else { timed };
    for path in documents {
        let filled = filled(&read(path)?, &tables, is_measured).with_context(|| path.display().to_string())?;
        fs::write(path, filled).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// The document with these tables in place of those that were measured.
fn filled(document: &str, tables: &str, is_measured: impl Fn(&str) -> bool) -> Result<String> {
    let mut text = String::new();
    let mut rest = document;
    let mut count = 0;
    while let Some((before, name, after)) = next_mark(rest) {
        let (old, behind) = after.split_once(&end(name)).with_context(|| format!("no end of {name}"))?;
        let table = if is_measured(name) { between(tables, name) } else { Some(old) };
        let table = table.with_context(|| format!("no table {name} in the results"))?;
        text.push_str(before);
        text.push_str(&format!("{}{table}{}", begin(name), end(name)));
        rest = behind;
        count += 1;
    }
    if count == 0 {
        bail!("no mark like {}", begin("cpu"));
    }
    Ok(text + rest)
}

/// What comes before the next mark, its name, and what follows it.
fn next_mark(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once("<!-- bench: ")?;
    let (name, after) = rest.split_once(" -->")?;
    Some((before, name, after))
}

fn between<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    Some(text.split_once(&begin(name))?.1.split_once(&end(name))?.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::tables::marked;

    #[test]
    fn tables_replace_what_stands_between_their_marks() -> Result<()> {
        let tables = marked("one", "| new |\n") + &marked("two", "| other |\n");
        let document = format!("# Title\n\n{}\ntext\n{}end\n", marked("two", "old\n"), marked("one", ""));
        let expected =
            format!("# Title\n\n{}\ntext\n{}end\n", marked("two", "| other |\n"), marked("one", "| new |\n"));
        assert_eq!(filled(&document, &tables, |_| true)?, expected);
        Ok(())
    }

    #[test]
    fn a_mark_without_a_table_is_an_error() {
        assert!(filled("no marks", &marked("one", ""), |_| true).is_err());
        assert!(filled(&marked("unknown", ""), &marked("one", ""), |_| true).is_err());
        assert!(filled(&begin("one"), &marked("one", ""), |_| true).is_err());
    }

    #[test]
    fn a_table_that_was_not_measured_stays() -> Result<()> {
        let document = marked("one", "old\n") + &marked(INSTRUCTIONS, "old\n");
        let expected = marked("one", "new\n") + &marked(INSTRUCTIONS, "old\n");
        let is_timed = |name: &str| name != INSTRUCTIONS;
        assert_eq!(filled(&document, &marked("one", "new\n"), is_timed)?, expected);
        assert!(filled(&marked("two", "old\n"), &marked("one", "new\n"), is_timed).is_err());
        Ok(())
    }
}

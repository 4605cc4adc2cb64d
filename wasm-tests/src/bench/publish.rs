//! Puts the tables of the last run into the documents.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};

use super::tables::{begin, end};

/// Replaces what stands between the marks in these documents by what stands between the same marks in `results.md`.
///
/// # Errors
/// When a file can't be read or written, a document has no marks, or a mark has no table.
pub(crate) fn publish(results: &Path, documents: &[&Path]) -> Result<()> {
    let read = |path: &Path| fs::read_to_string(path).with_context(|| format!("reading {}", path.display()));
    let tables = read(results).context("`make bench` writes it")?;
    for path in documents {
        let filled = filled(&read(path)?, &tables).with_context(|| path.display().to_string())?;
        fs::write(path, filled).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

fn filled(document: &str, tables: &str) -> Result<String> {
    let mut text = String::new();
    let mut rest = document;
    let mut count = 0;
    while let Some((before, name, after)) = next_mark(rest) {
        let table = between(tables, name).with_context(|| format!("no table {name} in the results"))?;
        let (_, behind) = after.split_once(&end(name)).with_context(|| format!("no end of {name}"))?;
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
        assert_eq!(filled(&document, &tables)?, expected);
        Ok(())
    }

    #[test]
    fn a_mark_without_a_table_is_an_error() {
        assert!(filled("no marks", &marked("one", "")).is_err());
        assert!(filled(&marked("unknown", ""), &marked("one", "")).is_err());
        assert!(filled(&begin("one"), &marked("one", "")).is_err());
    }
}

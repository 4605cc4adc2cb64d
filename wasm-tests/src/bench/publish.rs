//! Puts the tables of the last run into the documents.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail, ensure};

use super::tables::{begin, end};

/// Where the tables are, in the folder of the results.
const FILES: [&str; 2] = ["results.md", "instructions.md"];

/// Replaces what stands between the marks in these documents by what stands between the same marks in the results. If one
/// of the files with results isn't there, what it would replace stays.
///
/// # Errors
/// When there are no results, a file can't be read or written, a document has no marks, or a mark has no table.
pub(crate) fn publish(results: &Path, documents: &[&Path]) -> Result<()> {
    let read = |path: &Path| fs::read_to_string(path).with_context(|| format!("reading {}", path.display()));
    let files: Vec<_> = FILES.iter().map(|name| results.join(name)).filter(|path| path.is_file()).collect();
    ensure!(!files.is_empty(), "{} has no results: `make bench` writes them", results.display());
    let tables = files.iter().map(|path| read(path)).collect::<Result<Vec<_>>>()?.concat();
    for path in documents {
        let filled = filled(&read(path)?, &tables, files.len() == FILES.len());
        fs::write(path, filled.with_context(|| path.display().to_string())?)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// The document with these tables. If they are `all` that there are, each mark has one.
fn filled(document: &str, tables: &str, all: bool) -> Result<String> {
    let mut text = String::new();
    let mut rest = document;
    let mut count = 0;
    while let Some((before, name, after)) = next_mark(rest) {
        let (old, behind) = after.split_once(&end(name)).with_context(|| format!("no end of {name}"))?;
        let table = between(tables, name).or((!all).then_some(old));
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
        assert_eq!(filled(&document, &tables, true)?, expected);
        Ok(())
    }

    #[test]
    fn a_mark_without_a_table_is_an_error() {
        assert!(filled("no marks", &marked("one", ""), true).is_err());
        assert!(filled(&marked("unknown", ""), &marked("one", ""), true).is_err());
        assert!(filled(&begin("one"), &marked("one", ""), true).is_err());
    }

    #[test]
    fn a_table_of_results_that_are_not_there_stays() -> Result<()> {
        let document = marked("one", "old\n") + &marked("two", "old\n");
        let expected = marked("one", "new\n") + &marked("two", "old\n");
        assert_eq!(filled(&document, &marked("one", "new\n"), false)?, expected);
        Ok(())
    }
}

//! How findings are printed.

use std::io::{ErrorKind, Result, Write};

/// Drops what nobody reads any more: `head` closes the pipe once it has its lines, and that is no error.
#[derive(Debug)]
pub struct WhileRead<W>(pub W);

impl<W: Write> Write for WhileRead<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        while_read(self.0.write(bytes), bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        while_read(self.0.flush(), ())
    }
}

fn while_read<T>(written: Result<T>, dropped: T) -> Result<T> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(dropped),
        written => written,
    }
}

/// A colour of the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    Green,
    Yellow,
    Red,
    Grey,
}

impl Colour {
    /// ECMA-48, select graphic rendition.
    const fn code(self) -> &'static str {
        match self {
            Self::Green => "32",
            Self::Yellow => "33",
            Self::Red => "31",
            Self::Grey => "90",
        }
    }

    /// The text in this colour, if colours are on.
    pub fn paint(self, text: &str, has_colour: bool) -> String {
        if has_colour { format!("\x1b[{}m{text}\x1b[0m", self.code()) } else { text.to_owned() }
    }
}

//! How findings are printed.

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

//! Pictures of dots from SVG, with a font of their own.

use std::sync::Arc;

use anyhow::{Context, Result};
use resvg::{
    tiny_skia::{Pixmap, Transform},
    usvg::{Options, Tree, fontdb::Database},
};

/// Width of a picture in dots.
pub(crate) const WIDTH: u32 = 1600;

/// What draws pictures.
#[derive(Debug, Clone)]
pub(crate) struct Painter {
    fonts: Arc<Database>,
}

impl Painter {
    /// Loads the font.
    #[must_use]
    pub(crate) fn new() -> Self {
        let mut fonts = Database::new();
        fonts.load_font_data(dejavu::sans::regular().to_vec());
        fonts.load_font_data(dejavu::sans::bold().to_vec());
        fonts.set_sans_serif_family("DejaVu Sans");
        Self {
            fonts: Arc::new(fonts),
        }
    }

    /// The SVG as a PNG that is [`WIDTH`] dots wide.
    ///
    /// # Errors
    /// It is no SVG, or too high to be drawn.
    pub(crate) fn png(&self, svg: &str) -> Result<Vec<u8>> {
        let options = Options {
            fontdb: Arc::clone(&self.fonts),
            font_family: "DejaVu Sans".into(),
            ..Options::default()
        };
        let tree = Tree::from_str(svg, &options).context("a chart is no SVG")?;
        let scale = WIDTH as f32 / tree.size().width();
        let height = (tree.size().height() * scale).ceil() as u32;
        let mut dots = Pixmap::new(WIDTH, height).context("a chart is too high to be drawn")?;
        resvg::render(
            &tree,
            Transform::from_scale(scale, scale),
            &mut dots.as_mut(),
        );
        dots.encode_png().context("a picture cannot be encoded")
    }
}

impl Default for Painter {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::report::plot::Chart;

    #[test]
    fn text_is_drawn_without_fonts_of_the_system() {
        let painter = Painter::new();
        let dark = |title: &str| {
            let chart = Chart {
                title: title.into(),
                ..Chart::default()
            };
            let png = painter.png(&chart.svg()).unwrap();
            let dots = Pixmap::decode_png(&png).unwrap();
            assert_eq!(dots.width(), WIDTH);
            dots.pixels().iter().filter(|dot| dot.red() < 100).count()
        };
        assert!(dark("throughput") > dark("") + 500);
    }
}

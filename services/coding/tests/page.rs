//! `docs/analytes.md` is what the lab table says: made here, and compared.

use coding::lab::{Analyte, Lab};

const HEAD: &str = "# Analytes and units

What results are known by. A unit counts beside its analyte alone: one that is not in its line gives no number. Spaces, both micro signs
and `l` for litre do not matter; \"none\" says that a result without a unit is read, too. [Mappings](mappings.md#analytes-and-units)
say what becomes of the rest, and `causeway labs list` tells the same with all codes and where each was seen.

*Factor* is exact, computed from molar masses. *Can be*: outside it a number is an implausible value, with what that rests on; nothing
stands there where no reference was read. *Decimals* are those that a converted number is shown with; where no source was read, up to three.
Made from `services/coding/data/`; a test holds it to that.

";
const ROW: &str = "| Analyte | Name | Family | Codes | In | Read in, with factor | Can be | Decimals |\n|---|---|---|---|---|---|---|---|\n";

fn made() -> String {
    let lab = Lab::shipped();
    let rows: String = lab.analytes().iter().map(row).collect();
    let by: std::collections::BTreeSet<&str> =
        lab.analytes().iter().map(|analyte| analyte.plausible.by.as_str()).filter(|by| *by != "none").collect();
    let reasons: String = by.into_iter().map(|by| format!("- {by}\n")).collect();
    let left = lab.analytes().iter().filter_map(|analyte| Some((analyte, analyte.left.as_deref()?)));
    let left: String = left.map(|(analyte, why)| format!("| `{}` | {why} |\n", analyte.key)).collect();
    format!(
        "{HEAD}{ROW}{rows}\n## What that rests on\n\n{reasons}\n## Left unconverted\n\nNo factor exists; such a unit is an unknown one.\n\n\
         | Analyte | Not converted |\n|---|---|\n{left}"
    )
}

fn row(analyte: &Analyte) -> String {
    use coding::units::Conversion;
    let units = analyte.units.written.iter().map(|(unit, conversion)| match conversion {
        Conversion::Same => unit.clone(),
        Conversion::Times(factor) => format!("{unit} (× {factor})"),
        Conversion::Ngsp => format!("{unit} (NGSP)"),
        Conversion::Wrong => format!("{unit} (never right)"),
    });
    let plausible = match (analyte.plausible.low, analyte.plausible.high) {
        (Some(low), Some(high)) => format!("{low} to {high}"),
        (Some(low), None) => format!("from {low}"),
        (None, Some(high)) => format!("to {high}"),
        (None, None) => String::new(),
    };
    format!(
        "| `{}` | {} | {} | {} | {} | {} | {plausible} | {} |\n",
        analyte.key,
        analyte.text(),
        analyte.family.as_deref().unwrap_or_default(),
        analyte.codes().count(),
        analyte.unit,
        units.collect::<Vec<_>>().join(", "),
        analyte.decimals.map(|decimals| decimals.to_string()).unwrap_or_default(),
    )
}

#[test]
fn the_page_says_what_the_table_holds() {
    let made = made();
    if made != include_str!("../../../docs/analytes.md") {
        let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/analytes.md");
        std::fs::write(file, made).expect("the page");
        panic!("docs/analytes.md is not what the table says: copy {file} over it");
    }
}

//! Releases that nobody published: files in the official layouts, of any size, from a seed.
//!
//! # Why
//! No licensed content is shipped, and a loader that was only tried on a few rows has not been tried. So words are made of
//! syllables, identifiers have right check digits, and the shape is that of the national release: a hierarchy some
//! fifteen steps deep with several parents, two to three names a concept, one concept in seven not in use and with a
//! history, and other relationships beside `is-a`.

mod words;

use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};
use terminology::sctid::with_check;
use words::Words;

/// As many concepts as the UK Monolith has, roughly.
pub const FULL: usize = 1_150_000;
const ROOT: u64 = 138_875_005;
const MODULE: &str = "900000000000207008";
const DATE: &str = "20260401";
/// One concept in so many is not in use.
const INACTIVE_EVERY: usize = 7;

/// What was written, for whoever holds answers beside it.
pub struct Made {
    /// Concepts in the order in which they were made: parents before children.
    pub concepts: Vec<u64>,
    pub active: Vec<bool>,
    /// Places in `concepts`.
    pub parents: Vec<Vec<u32>>,
    /// A name of each.
    pub names: Vec<String>,
    /// Read v2 codes, each with the concept that the rule of the maps chooses, if it chooses one.
    pub read: Vec<(String, Option<u64>)>,
    /// Of concepts that are not in use: the one that stands in the place, if one does.
    pub replaced: Vec<(u64, Option<u64>)>,
    pub bytes: u64,
}

struct Out {
    file: BufWriter<File>,
}

impl Out {
    fn new(root: &Path, name: &str, heading: &str) -> io::Result<Self> {
        let path = root.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        write!(file, "{heading}\r\n")?;
        Ok(Self { file })
    }

    fn done(mut self) -> io::Result<u64> {
        self.file.flush()?;
        Ok(self.file.get_ref().metadata()?.len())
    }
}

const fn concept(nth: usize) -> u64 {
    nth as u64
}

fn concept_id(nth: usize) -> u64 {
    if nth == 0 { ROOT } else { with_check((1_000_000 + concept(nth)) * 100) }
}

/// Writes a release of so many concepts into a folder, in the layout of the UK Monolith, with a Read v2 map, LOINC and
/// dm+d beside it.
pub fn write(folder: &Path, concepts: usize, seed: u64) -> io::Result<Made> {
    let mut random = StdRng::seed_from_u64(seed);
    let words = Words::new(&mut random);
    let mut made = hierarchy(concepts, &mut random);
    let root = folder.join(format!("SnomedCT_MonolithRF2_PRODUCTION_{DATE}T120000Z/Snapshot"));
    made.bytes += write_concepts(&root, &made)?;
    made.bytes += write_names(&root, &mut made, &words, &mut random)?;
    made.bytes += write_relationships(&root, &made, &mut random)?;
    made.bytes += write_history(&root, &mut made, &mut random)?;
    made.bytes += write_members(&root, &made)?;
    made.bytes += write_read(folder, &mut made, &mut random)?;
    made.bytes += write_loinc(folder, &words, concepts / 10, &mut random)?;
    made.bytes += write_products(folder, &made, concepts / 50)?;
    Ok(made)
}

/// A tree that grows at random, and second parents from beside the first: ancestors are shared, as in a real one.
fn hierarchy(count: usize, random: &mut StdRng) -> Made {
    let (mut parents, mut last_child): (Vec<Vec<u32>>, Vec<u32>) = (vec![Vec::new()], vec![0]);
    let mut active = vec![true];
    for nth in 1..count {
        let in_use = nth % INACTIVE_EVERY != 0;
        active.push(in_use);
        last_child.push(nth as u32);
        if !in_use {
            parents.push(Vec::new());
            continue;
        }
        let mut parent = random.random_range(0..nth);
        while !active[parent] {
            parent -= 1;
        }
        let mut own = vec![parent as u32];
        if let Some(above) = parents[parent].first().copied() {
            let beside = last_child[above as usize];
            if random.random_bool(0.6) && beside != above && !own.contains(&beside) {
                own.push(beside);
            }
        }
        last_child[parent] = nth as u32;
        parents.push(own);
    }
    let concepts = (0..count).map(concept_id).collect();
    Made { concepts, active, parents, names: Vec::new(), read: Vec::new(), replaced: Vec::new(), bytes: 0 }
}

fn write_concepts(root: &Path, made: &Made) -> io::Result<u64> {
    let name = format!("Terminology/sct2_Concept_MONOSnapshot_GB_{DATE}.txt");
    let mut out = Out::new(root, &name, "id\teffectiveTime\tactive\tmoduleId\tdefinitionStatusId")?;
    for (id, active) in made.concepts.iter().zip(&made.active) {
        write!(out.file, "{id}\t{DATE}\t{}\t{MODULE}\t900000000000074008\r\n", u8::from(*active))?;
    }
    out.done()
}

fn write_names(root: &Path, made: &mut Made, words: &Words, random: &mut StdRng) -> io::Result<u64> {
    const HEADING: &str =
        "id\teffectiveTime\tactive\tmoduleId\tconceptId\tlanguageCode\ttypeId\tterm\tcaseSignificanceId";
    const LANGUAGE: &str = "id\teffectiveTime\tactive\tmoduleId\trefsetId\treferencedComponentId\tacceptabilityId";
    let name = format!("Terminology/sct2_Description_MONOSnapshot-en_GB_{DATE}.txt");
    let mut out = Out::new(root, &name, HEADING)?;
    let name = format!("Refset/Language/der2_cRefset_LanguageMONOSnapshot-en_GB_{DATE}.txt");
    let mut language = Out::new(root, &name, LANGUAGE)?;
    let mut nth = 10_000_000_u64;
    for concept in &made.concepts {
        let term = words.term(random);
        let mut one = |kind: &str, term: &str, preferred: bool| -> io::Result<()> {
            nth += 1;
            let id = with_check(nth * 100 + 1);
            write!(out.file, "{id}\t{DATE}\t1\t{MODULE}\t{concept}\ten\t{kind}\t{term}\t900000000000448009\r\n")?;
            let preferred = if preferred { "900000000000548007" } else { "900000000000549004" };
            for refset in ["900000000000508004", "999001261000000100"] {
                let uuid = format_args!("{:08x}-0000-4000-8000-{nth:012x}", refset.len()).to_string();
                write!(language.file, "{uuid}\t{DATE}\t1\t{MODULE}\t{refset}\t{id}\t{preferred}\r\n")?;
            }
            Ok(())
        };
        one("900000000000003001", &format!("{term} ({})", words.tag(*concept)), true)?;
        one("900000000000013009", &term, true)?;
        if random.random_bool(0.4) {
            one("900000000000013009", &words.term(random), false)?;
        }
        made.names.push(term);
    }
    Ok(out.done()? + language.done()?)
}

fn write_relationships(root: &Path, made: &Made, random: &mut StdRng) -> io::Result<u64> {
    const HEADING: &str = "id\teffectiveTime\tactive\tmoduleId\tsourceId\tdestinationId\trelationshipGroup\ttypeId\t\
                           characteristicTypeId\tmodifierId";
    let name = format!("Terminology/sct2_Relationship_MONOSnapshot_GB_{DATE}.txt");
    let mut out = Out::new(root, &name, HEADING)?;
    let mut nth = 20_000_000_u64;
    let mut one = |active: u8, from: u64, to: u64, kind: &str| {
        nth += 1;
        let id = with_check(nth * 100 + 2);
        write!(
            out.file,
            "{id}\t{DATE}\t{active}\t{MODULE}\t{from}\t{to}\t0\t{kind}\t900000000000011006\t900000000000451002\r\n"
        )
    };
    for (child, parents) in made.concepts.iter().zip(&made.parents) {
        for parent in parents {
            one(1, *child, made.concepts[*parent as usize], "116680003")?;
        }
        // An attribute, and an is-a that was switched off: neither is of the hierarchy.
        let other = made.concepts[random.random_range(0..made.concepts.len())];
        one(1, *child, other, "363698007")?;
        if random.random_bool(0.2) {
            one(0, *child, other, "116680003")?;
        }
    }
    out.done()
}

fn write_history(root: &Path, made: &mut Made, random: &mut StdRng) -> io::Result<u64> {
    const HEADING: &str = "id\teffectiveTime\tactive\tmoduleId\trefsetId\treferencedComponentId\ttargetComponentId";
    const SAME_AS: u64 = 900_000_000_000_527_005;
    const REPLACED_BY: u64 = 900_000_000_000_526_001;
    const POSSIBLY: u64 = 900_000_000_000_523_009;
    const MOVED_TO: u64 = 900_000_000_000_524_003;
    let name = format!("Refset/Content/der2_cRefset_AssociationMONOSnapshot_GB_{DATE}.txt");
    let mut out = Out::new(root, &name, HEADING)?;
    for nth in (0..made.concepts.len()).filter(|nth| !made.active[*nth]) {
        let of = made.concepts[nth];
        let mut target = || {
            let mut at = random.random_range(0..made.concepts.len());
            while !made.active[at] {
                at -= 1;
            }
            made.concepts[at]
        };
        let (one, two) = (target(), target());
        let (rows, replaced): (&[(u64, u64)], Option<u64>) = match nth / INACTIVE_EVERY % 10 {
            0..4 => (&[(SAME_AS, one)], Some(one)),
            4..6 => (&[(REPLACED_BY, one)], Some(one)),
            6 => (&[(SAME_AS, one), (SAME_AS, two)], (one == two).then_some(one)),
            7..9 => (&[(POSSIBLY, one), (POSSIBLY, two)], None),
            _ => (&[(MOVED_TO, one)], None),
        };
        for (refset, target) in rows {
            write!(out.file, "x\t{DATE}\t1\t{MODULE}\t{refset}\t{of}\t{target}\r\n")?;
        }
        made.replaced.push((of, replaced));
    }
    out.done()
}

fn write_members(root: &Path, made: &Made) -> io::Result<u64> {
    let name = format!("Refset/Content/der2_Refset_SimpleMONOSnapshot_GB_{DATE}.txt");
    let mut out = Out::new(root, &name, "id\teffectiveTime\tactive\tmoduleId\trefsetId\treferencedComponentId")?;
    for id in made.concepts.iter().step_by(20) {
        write!(out.file, "x\t{DATE}\t1\t{MODULE}\t999002881000000100\t{id}\r\n")?;
    }
    out.done()
}

/// Map, target, assured, date, status.
type MapRow = (char, u64, u8, u32, u8);

/// Codes with a known mix of dates, states and assurance, and what the rule makes of each.
fn write_read(folder: &Path, made: &mut Made, random: &mut StdRng) -> io::Result<u64> {
    const HEADING: &str = "MapId\tReadCode\tTermCode\tConceptId\tDescriptionId\tIS_ASSURED\tEffectiveDate\tMapStatus";
    const LETTERS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let name = "Mapping Tables/Updated/Clinically Assured/rcsctmap2_uk_20200401000001.txt";
    let mut out = Out::new(folder, name, HEADING)?;
    for nth in 0..made.concepts.len() / 10 {
        let mut code = String::new();
        let mut rest = nth;
        for _ in 0..5 {
            code.push(char::from(LETTERS[rest % LETTERS.len()]));
            rest /= LETTERS.len();
        }
        let mut pick = || made.concepts[random.random_range(0..made.concepts.len())];
        let (old, new) = (pick(), pick());
        // And what is chosen.
        let (rows, chosen): (&[MapRow], Option<u64>) = match nth % 5 {
            // A map that was changed.
            0 => (&[('a', old, 1, 20_100_401, 1), ('a', new, 1, 20_200_401, 1)], Some(new)),
            // One that was switched off.
            1 => (&[('a', old, 1, 20_100_401, 1), ('a', old, 1, 20_200_401, 0)], None),
            // Assured before newer.
            2 => (&[('a', old, 1, 20_100_401, 1), ('b', new, 0, 20_200_401, 1)], Some(old)),
            // Two of one rank.
            3 => (&[('a', old, 1, 20_200_401, 1), ('b', new, 1, 20_200_401, 1)], (old == new).then_some(old)),
            _ => (&[('a', new, 0, 20_200_401, 1)], Some(new)),
        };
        for (map, target, assured, date, status) in rows {
            write!(out.file, "{map}{nth}\t{code}\t00\t{target}\t\t{assured}\t{date}\t{status}\r\n")?;
        }
        made.read.push((code, chosen));
    }
    out.done()
}

fn write_loinc(folder: &Path, words: &Words, count: usize, random: &mut StdRng) -> io::Result<u64> {
    let mut out = Out::new(
        folder,
        "LoincTable/Loinc.csv",
        "\"LOINC_NUM\",\"COMPONENT\",\"PROPERTY\",\"SYSTEM\",\"STATUS\",\"LONG_COMMON_NAME\"",
    )?;
    for nth in 0..count.min(90_000) {
        let stem = 100_000 + nth;
        let code = (0..10).map(|check| format!("{stem}-{check}")).find(|code| terminology::is_loinc(code));
        let code = code.unwrap_or_default();
        let name = words.term(random);
        write!(out.file, "\"{code}\",\"{name}\",\"SCnc\",\"Ser/Plas\",\"ACTIVE\",\"{name} [Moles/volume]\"\r\n")?;
    }
    out.done()
}

fn write_products(folder: &Path, made: &Made, count: usize) -> io::Result<u64> {
    let place = PathBuf::from("nhsbsa_dmd");
    let id = |nth: usize| with_check((5_000_000 + nth as u64) * 100);
    let mut moieties = Out::new(
        folder,
        &place.join("f_vtm2_3010426.xml").to_string_lossy(),
        "<?xml version=\"1.0\"?>\r\n<VIRTUAL_THERAPEUTIC_MOIETIES>",
    )?;
    let mut products = Out::new(
        folder,
        &place.join("f_vmp2_3010426.xml").to_string_lossy(),
        "<?xml version=\"1.0\"?>\r\n<VIRTUAL_MED_PRODUCTS><VMPS>",
    )?;
    let mut substances = Out::new(
        folder,
        &place.join("f_ingredient2_3010426.xml").to_string_lossy(),
        "<?xml version=\"1.0\"?>\r\n<INGREDIENT_SUBSTANCES>",
    )?;
    let mut holds = String::new();
    for (nth, name) in made.names.iter().take(count).enumerate() {
        let [moiety, product, substance] = [id(3 * nth), id(3 * nth + 1), id(3 * nth + 2)];
        write!(moieties.file, "<VTM><VTMID>{moiety}</VTMID><NM>{name}</NM></VTM>\r\n")?;
        write!(
            products.file,
            "<VMP><VPID>{product}</VPID><VTMID>{moiety}</VTMID><NM>{name} 10mg tablets</NM></VMP>\r\n"
        )?;
        write!(substances.file, "<ING><ISID>{substance}</ISID><NM>{name}</NM></ING>\r\n")?;
        holds.push_str(&format!(
            "<VPI><VPID>{product}</VPID><ISID>{substance}</ISID><STRNT_NMRTR_VAL>10</STRNT_NMRTR_VAL></VPI>\r\n"
        ));
    }
    moieties.file.write_all(b"</VIRTUAL_THERAPEUTIC_MOIETIES>")?;
    write!(
        products.file,
        "</VMPS><VIRTUAL_PRODUCT_INGREDIENT>{holds}</VIRTUAL_PRODUCT_INGREDIENT></VIRTUAL_MED_PRODUCTS>"
    )?;
    substances.file.write_all(b"</INGREDIENT_SUBSTANCES>")?;
    Ok(moieties.done()? + products.done()? + substances.done()?)
}

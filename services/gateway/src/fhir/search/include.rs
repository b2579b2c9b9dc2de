//! What comes along with what was found: `_include` and `_revinclude`.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use super::{Refused, query::shown};
use crate::fhir::table::{self, By, Made, Parameter, Type};

/// Each costs a reading of its own.
pub const INCLUDES_MAX: usize = 10;

/// `Observation:subject:Patient`
#[derive(Clone, Copy, Debug)]
pub struct Include {
    /// Whose reference it is.
    pub from: &'static Type,
    pub parameter: &'static Parameter,
    /// Only to this type.
    pub only: Option<&'static Type>,
}

#[derive(Clone, Debug, Default)]
pub struct Includes {
    pub forward: Vec<Include>,
    pub reverse: Vec<Include>,
}

impl Includes {
    pub fn parse(of: &'static Type, forward: Vec<&str>, reverse: Vec<&str>) -> Result<Self, Refused> {
        if forward.len() + reverse.len() > INCLUDES_MAX {
            return Err(Refused::costly("too many things to include"));
        }
        let forward = forward.into_iter().map(Include::parse).collect::<Result<Vec<_>, _>>()?;
        let reverse = reverse.into_iter().map(Include::parse).collect::<Result<Vec<_>, _>>()?;
        if forward.iter().any(|include| include.from.name != of.name) {
            return Err(Refused::invalid(format!("_include is of what is searched: {}:…", of.name)));
        }
        if reverse.iter().any(|include| !include.may_name(of.name)) {
            return Err(Refused::invalid(format!("_revinclude: nothing of that kind names a {}", of.name)));
        }
        Ok(Self { forward, reverse })
    }
}

impl Include {
    fn parse(text: &str) -> Result<Self, Refused> {
        let refused = || Refused::unsupported(format!("`{}` cannot be included", shown(text)));
        let mut parts = text.split(':');
        let (from, parameter, only) =
            (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next());
        // Who has looked is decided on by itself, and comes along with nothing.
        let from = table::named(from).filter(|from| from.made != Made::Accesses).ok_or_else(refused)?;
        let parameter = from.parameter(parameter).ok_or_else(refused)?;
        let only = only.map(|only| table::named(only).ok_or_else(refused)).transpose()?;
        let By::Reference(types) = parameter.by else { return Err(refused()) };
        let known = !types.is_empty() && only.is_none_or(|only| types.contains(&only.name));
        if known && parts.next().is_none() { Ok(Self { from, parameter, only }) } else { Err(refused()) }
    }

    /// Whether its references can be to a resource of this type.
    pub fn may_name(&self, of: &str) -> bool {
        let By::Reference(types) = self.parameter.by else { return false };
        types.contains(&of) && self.only.is_none_or(|only| only.name == of)
    }
}

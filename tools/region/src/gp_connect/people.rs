//! Patients, practices and users.

use super::{Bundle, fhir::Resource, fhir::key};
use crate::gp;

pub fn ods_code(resource: &Resource<'_>) -> Option<String> {
    (0..resource.len("/identifier")).find_map(|i| {
        let system = format!("/identifier/{i}/system");
        let is_ods = resource.text(&system)?.ends_with("ods-organization-code");
        is_ods.then(|| resource.text(&format!("/identifier/{i}/value")))?
    })
}

pub fn organisation(resource: &Resource<'_>) -> gp::Organisation {
    gp::Organisation {
        organisation_id: key(resource.id),
        ods_code: ods_code(resource),
        organisation_name: resource.text("/name"),
        organisation_type: resource.text("/type/0/text"),
        telephone: telecom(resource, "phone"),
        postcode: resource.text("/address/0/postalCode"),
        ..Default::default()
    }
}

/// The first contact of this kind.
fn telecom(resource: &Resource<'_>, kind: &str) -> Option<String> {
    (0..resource.len("/telecom")).find_map(|i| {
        let system = format!("/telecom/{i}/system");
        (resource.text(&system)? == kind).then(|| resource.text(&format!("/telecom/{i}/value")))?
    })
}

/// EMIS's users are people in a role; the records refer to the person.
pub fn user(bundle: &Bundle<'_>, role: &Resource<'_>) -> gp::User {
    let practitioner = role.reference("/practitioner").map(|(_, id)| id);
    let person = practitioner.and_then(|id| bundle.get(id));
    gp::User {
        user_in_role_id: key(practitioner.unwrap_or(role.id)),
        organisation_id: role.referred("/organization"),
        title: person.and_then(|p| p.text("/name/0/prefix/0")),
        given_name: person.and_then(|p| p.text("/name/0/given/0")),
        surname: person.and_then(|p| p.text("/name/0/family")),
        job_category_code: role.text("/code/0/coding/0/code"),
        job_category_name: role.text("/code/0/coding/0/display"),
        ..Default::default()
    }
}

pub fn patient(bundle: &Bundle<'_>, resource: &Resource<'_>) -> gp::Patient {
    let official = (0..resource.len("/name"))
        .map(|i| format!("/name/{i}"))
        .find(|p| resource.text(&format!("{p}/use")).as_deref() == Some("official"))
        .unwrap_or_else(|| "/name/0".to_owned());
    let middle: Vec<_> = (1..resource.len(&format!("{official}/given")))
        .filter_map(|i| resource.text(&format!("{official}/given/{i}")))
        .collect();
    let status = resource.extension("/identifier/0", "NHSNumberVerificationStatus-1");
    let street: Vec<_> =
        (1..resource.len("/address/0/line")).filter_map(|i| resource.text(&format!("/address/0/line/{i}"))).collect();
    let organisation_id = resource.referred("/managingOrganization");
    gp::Patient {
        patient_id: key(resource.id),
        nhs_number: resource.text("/identifier/0/value"),
        nhs_number_status: status.and_then(|p| resource.text(&format!("{p}/valueCodeableConcept/coding/0/code"))),
        date_of_birth: resource.at("/birthDate"),
        date_of_death: resource.at("/deceasedDateTime"),
        sex: resource.text("/gender").map(|g| sex(&g).to_owned()),
        title: resource.text(&format!("{official}/prefix/0")),
        given_name: resource.text(&format!("{official}/given/0")),
        middle_names: (!middle.is_empty()).then(|| middle.join(" ")),
        surname: resource.text(&format!("{official}/family")),
        house_name_number: resource.text("/address/0/line/0"),
        street: (!street.is_empty()).then(|| street.join(", ")),
        town: resource.text("/address/0/city"),
        postcode: resource.text("/address/0/postalCode"),
        telephone: telecom(resource, "phone"),
        email: telecom(resource, "email"),
        organisation_id,
        usual_gp_user_in_role_id: resource.referred("/generalPractitioner/0"),
        patient_type: bundle.practice.as_ref().map(|_| "R".to_owned()),
        ..Default::default()
    }
}

fn sex(gender: &str) -> &'static str {
    match gender {
        "male" => "M",
        "female" => "F",
        "other" => "I",
        _ => "U",
    }
}

// HAPI FHIR's own client and validator against a gateway: what a consumer finds that nobody here wrote.
//
// Arguments: the base address. Standard input: one step a line, its parts separated by tabs.
//   text JSON                      validates one resource
//   page TOKEN TYPE PATIENT COUNT  searches a type with the client, follows `next` to the end, validates every page
//   form TOKEN TYPE PATIENT COUNT  the same, by POST _search
//   stated JSON                    compares a CapabilityStatement's search parameters with R4's own definitions
//   everything TOKEN PATIENT       $everything with the client, all pages, validated
//   unchanged TOKEN PATIENT        reads a patient, and again only if there is another version
// Standard output: one line of JSON for each step, with what the validator calls an error. Nobody else is asked anything:
// codes of systems that R4 does not bring along are taken as they are.
import ca.uhn.fhir.context.FhirContext
import ca.uhn.fhir.context.support.DefaultProfileValidationSupport
import ca.uhn.fhir.rest.api.SearchStyleEnum
import ca.uhn.fhir.rest.client.api.IClientInterceptor
import ca.uhn.fhir.rest.client.api.IHttpRequest
import ca.uhn.fhir.rest.client.api.IHttpResponse
import ca.uhn.fhir.rest.client.interceptor.BearerTokenAuthInterceptor
import ca.uhn.fhir.rest.gclient.ReferenceClientParam
import ca.uhn.fhir.validation.ResultSeverityEnum
import groovy.json.JsonOutput
import org.hl7.fhir.common.hapi.validation.support.CommonCodeSystemsTerminologyService
import org.hl7.fhir.common.hapi.validation.support.InMemoryTerminologyServerValidationSupport
import org.hl7.fhir.common.hapi.validation.support.UnknownCodeSystemWarningValidationSupport
import org.hl7.fhir.common.hapi.validation.support.ValidationSupportChain
import org.hl7.fhir.common.hapi.validation.validator.FhirInstanceValidator
import org.hl7.fhir.instance.model.api.IBaseBundle
import org.hl7.fhir.r4.model.Bundle
import org.hl7.fhir.r4.model.CapabilityStatement
import org.hl7.fhir.r4.model.IdType
import org.hl7.fhir.r4.model.Parameters
import org.hl7.fhir.r4.model.Patient

final PAGES_MAX = 50

def context = FhirContext.forR4()
def chain = new ValidationSupportChain(
    new DefaultProfileValidationSupport(context),
    new CommonCodeSystemsTerminologyService(context),
    new InMemoryTerminologyServerValidationSupport(context),
    new UnknownCodeSystemWarningValidationSupport(context))
def validator = context.newValidator().registerValidatorModule(new FhirInstanceValidator(chain))

def errors = { String text ->
  def wrong = [ResultSeverityEnum.ERROR, ResultSeverityEnum.FATAL]
  validator.validateWithResult(text).messages.findAll { it.severity in wrong }.collect { "${it.locationString}: ${it.message}".toString() }
// Each client asks for the same CapabilityStatement first, and that is the largest of all.
}.memoize()

/** Keeps what was answered, as it was sent. */
class Kept implements IClientInterceptor {
  List<String> texts = []
  void interceptRequest(IHttpRequest request) {}
  void interceptResponse(IHttpResponse response) {
    response.bufferEntity()
    // Of what has not changed nothing is sent.
    def entity = response.readEntity()
    if (entity != null) {
      texts << entity.getText('UTF-8')
    }
  }
}

def connected = { String token, Kept kept ->
  // As it comes: asks for the CapabilityStatement first, and would take XML.
  def client = context.newRestfulGenericClient(args[0])
  client.registerInterceptor(new BearerTokenAuthInterceptor(token))
  client.registerInterceptor(kept)
  client
}

/** Follows `next` to the end. */
def followed = { client, Bundle bundle, Kept kept ->
  def matches = { Bundle page -> page.entry.findAll({ it.search.mode?.toCode() == 'match' }).collect { it.getResource().idElement.idPart } }
  def ids = matches(bundle)
  def pages = 1
  def total = bundle.total
  while (bundle.getLink(IBaseBundle.LINK_NEXT) != null && pages < PAGES_MAX) {
    bundle = client.loadPage().next(bundle).execute()
    pages += 1
    ids.addAll(matches(bundle))
  }
  [pages: pages, total: total, ids: ids, validated: kept.texts.size(), errors: kept.texts.collectMany(errors)]
}

def paged = { String token, String type, String patient, int count, SearchStyleEnum style ->
  def kept = new Kept()
  def client = connected(token, kept)
  // R4 lets a Provenance be searched by whom it is of, and so by a target that is a patient.
  def bundle = client.search().forResource(type).where(new ReferenceClientParam('patient').hasId(patient))
      .count(count).usingStyle(style).returnBundle(Bundle).execute()
  followed(client, bundle, kept)
}

def all = { String token, String patient ->
  def kept = new Kept()
  def client = connected(token, kept)
  def bundle = client.operation().onInstance(new IdType('Patient', patient)).named('$everything')
      .withNoParameters(Parameters).useHttpGet().returnResourceType(Bundle).execute()
  followed(client, bundle, kept)
}

/** What it states that R4 does not have, or has as another type. `_source` is newer than these definitions. */
def compared = { String text ->
  def wrong = []
  def statement = context.newJsonParser().parseResource(CapabilityStatement, text)
  for (of in statement.rest[0].getResource()) {
    def known = context.getResourceDefinition(of.getType())
    for (one in of.getSearchParam()) {
      def code = known.getSearchParam(one.getName())?.paramType?.code
      if (one.getName() != '_source' && code != one.getType().toCode()) {
        wrong << "${of.getType()}.${one.getName()} is ${code}, not ${one.getType().toCode()}".toString()
      }
    }
  }
  [validated: statement.rest[0].getResource().size(), errors: wrong]
}

def again = { String token, String patient ->
  def client = connected(token, new Kept())
  def read = client.read().resource(Patient).withId(patient).execute()
  def changed = client.read().resource(Patient).withId(patient).ifVersionMatches(read.idElement.versionIdPart).returnNull().execute()
  [validated: 1, errors: changed == null ? [] : ['told again']]
}

System.in.eachLine('UTF-8') { line ->
  def (kind, rest) = line.split('\t', 2)
  def told
  switch (kind) {
    case 'text':
      told = [validated: 1, errors: errors(rest)]
      break
    case ['page', 'form']:
      def (token, type, patient, count) = rest.split('\t')
      def style = kind == 'form' ? SearchStyleEnum.POST : SearchStyleEnum.GET
      told = paged(token, type, patient, count as int, style)
      break
    case 'stated':
      told = compared(rest)
      break
    case ['everything', 'unchanged']:
      def (token, patient) = rest.split('\t')
      told = kind == 'everything' ? all(token, patient) : again(token, patient)
      break
    default:
      throw new IllegalArgumentException("no such step: $kind")
  }
  println JsonOutput.toJson(told)
}

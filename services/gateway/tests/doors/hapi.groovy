// HAPI FHIR's own client and validator against a gateway: what a consumer finds that nobody here wrote.
//
// Arguments: the base address. Standard input: one step a line, its parts separated by tabs.
//   text JSON                      validates one resource
//   page TOKEN PATIENT COUNT       searches results with the client, follows `next` to the end, validates every page
//   form TOKEN PATIENT COUNT       the same, by POST _search
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
}

/** Keeps what was answered, as it was sent. */
class Kept implements IClientInterceptor {
  List<String> texts = []
  void interceptRequest(IHttpRequest request) {}
  void interceptResponse(IHttpResponse response) {
    response.bufferEntity()
    texts << response.readEntity().getText('UTF-8')
  }
}

def paged = { String token, String patient, int count, SearchStyleEnum style ->
  def kept = new Kept()
  // As it comes: asks for the CapabilityStatement first, and would take XML.
  def client = context.newRestfulGenericClient(args[0])
  client.registerInterceptor(new BearerTokenAuthInterceptor(token))
  client.registerInterceptor(kept)
  def bundle = client.search().forResource('Observation').where(new ReferenceClientParam('patient').hasId(patient))
      .count(count).usingStyle(style).returnBundle(Bundle).execute()
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

System.in.eachLine('UTF-8') { line ->
  def (kind, rest) = line.split('\t', 2)
  def told
  switch (kind) {
    case 'text':
      told = [validated: 1, errors: errors(rest)]
      break
    case ['page', 'form']:
      def (token, patient, count) = rest.split('\t')
      def style = kind == 'form' ? SearchStyleEnum.POST : SearchStyleEnum.GET
      told = paged(token, patient, count as int, style)
      break
    default:
      throw new IllegalArgumentException("no such step: $kind")
  }
  println JsonOutput.toJson(told)
}

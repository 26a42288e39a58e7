/* openapi.h - the API's own documents, ready to be given: the one of requests as JSON and as MessagePack, that of the live end's messages as JSON, each in every coding. */
#ifndef WEIR_GATEWAY_REST_OPENAPI_H
#define WEIR_GATEWAY_REST_OPENAPI_H

struct openapi;
struct openapi *openapi_new(void);
void openapi_free(struct openapi **);

#endif

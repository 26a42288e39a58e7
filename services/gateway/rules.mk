$(BUILD)/obj/services/gateway/api/openapi.o: services/gateway/api/openapi.json

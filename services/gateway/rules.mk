$(BUILD)/obj/services/gateway/openapi.o: services/gateway/openapi.json

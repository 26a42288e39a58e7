# The migrations become part of the program: one C string each, in the order of their numbers.
MIGRATIONS := $(sort $(wildcard services/reconciler/migrations/*.sql))
GENERATED_reconciler := $(BUILD)/gen/services/reconciler/migrations.o
$(BUILD)/gen/services/reconciler/migrations.c: $(MIGRATIONS) services/reconciler/embed
	@mkdir -p $(@D) && services/reconciler/embed $(MIGRATIONS) > $@
$(BUILD)/gen/services/reconciler/migrations.o: $(BUILD)/gen/services/reconciler/migrations.c $(FARM_STAMP) services/reconciler/migrations.h
	$(Q)$(CC) $(BASE_CFLAGS) $(INC_service) -Iservices/reconciler -c $< -o $@

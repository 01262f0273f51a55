"""Programs that measure, check and describe this repository; not part of any distribution."""

"""The parts that the processes of a local engine share: messages, framing, transports, directories."""

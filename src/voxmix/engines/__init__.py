"""Where runs are executed: jobs as folders, engines that take them, and this machine as the first engine."""

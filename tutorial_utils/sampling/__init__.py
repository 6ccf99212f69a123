"""From noise to pictures and clips: one sampling loop, asked for by class or by sentence."""

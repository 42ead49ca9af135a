"""What can be wrong with the house, each trap by its name: Nginx, logrotate, the journal and the rest."""
